"""The smallest guest, on every accelerator of this machine."""

import pytest

from yogurtbench.core.process import run
from yogurtbench.hosts.vm import accelerator, image
from yogurtbench.hosts.vm.image import recipe

pytestmark = pytest.mark.vm


def test_the_smallest_guest_reaches_user_space_where_it_runs_at_all():
    argv = accelerator.command(image.ensure(say=print))
    argv[argv.index("-accel") + 1], argv[argv.index("-cpu") + 1] = "tcg", "max"
    assert recipe.MARKER in run(argv, timeout=120, check=False).stdout

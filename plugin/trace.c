/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Record which translated blocks an emulated guest executes between two marks, in order.
 *
 * A plugin of QEMU's emulator (docs/devel/tcg-plugins.rst). It only looks: what the guest executes,
 * and its clock, stay the same to the instruction. Compiled with -DINTERFACE=N, N being a version of
 * the plugin interface that the QEMU at hand speaks: 1 for QEMU 7.2, 4 for 10.0.
 *
 *     -plugin trace.so,blocks=FILE,steps=FILE
 *
 * FILE blocks: one line a block, "number address bytes-of-each-instruction bytes-of-the-last",
 * hexadecimal. FILE steps: 64-bit words in the machine's order, see enum step.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* The parts of the interface that are used; the distributions ship no header. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, LOADS_AND_STORES = 3 };
typedef void (*on_translation)(plugin_id id, struct qemu_plugin_tb *block);
typedef void (*on_execution)(unsigned int cpu, void *data);
typedef void (*on_access)(unsigned int cpu, uint32_t info, uint64_t address, void *data);
typedef void (*on_end)(plugin_id id, void *data);

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
#if INTERFACE < 3
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
#else
extern size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *into, size_t size);
#endif
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, on_translation call);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, on_execution call, int registers,
						 void *data);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, on_execution call, int registers,
						   void *data);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, on_access call, int registers,
					     int direction, void *data);
extern bool qemu_plugin_mem_is_store(uint32_t info);
extern void qemu_plugin_register_atexit_cb(plugin_id id, on_end call, void *data);

EXPORT int qemu_plugin_version = INTERFACE;

/*
 * A step: a block's number, or with the highest bit what its last instruction, a call or a return,
 * found in memory: bit 62 is set for a store, the lower 48 are those of the address.
 */
enum { ACCESS_BIT = 63, STORE_BIT = 62, ADDRESS_BITS = 48 };
enum { LONGEST = 15 };

/* nopl magic(%rax): what the agent executes before and after. */
static const unsigned char BEGIN[] = { 0x0f, 0x1f, 0x80, 0x79, 0x62, 0x01, 0x5a };
static const unsigned char END[] = { 0x0f, 0x1f, 0x80, 0x79, 0x62, 0x02, 0x5a };

static FILE *blocks, *steps;
static uint64_t count;
static bool recording;

static void write_step(uint64_t word)
{
	if (recording)
		fwrite(&word, sizeof(word), 1, steps);
}

static void execute_block(unsigned int cpu, void *number)
{
	write_step((uint64_t)(uintptr_t)number);
}

static void access_stack(unsigned int cpu, uint32_t info, uint64_t address, void *data)
{
	uint64_t store = qemu_plugin_mem_is_store(info);

	write_step(1ull << ACCESS_BIT | store << STORE_BIT | (address & ((1ull << ADDRESS_BITS) - 1)));
}

static void set_recording(unsigned int cpu, void *wanted)
{
	recording = wanted;
	fflush(blocks);
	fflush(steps);
}

static size_t read_instruction(const struct qemu_plugin_insn *insn, unsigned char *into)
{
	size_t size = qemu_plugin_insn_size(insn);

	if (size > LONGEST)
		size = LONGEST;
#if INTERFACE < 3
	memcpy(into, qemu_plugin_insn_data(insn), size);
	return size;
#else
	return qemu_plugin_insn_data(insn, into, size);
#endif
}

static bool is_mark(const unsigned char *code, size_t size, const unsigned char *mark)
{
	return size == sizeof(BEGIN) && !memcmp(code, mark, sizeof(BEGIN));
}

/* A near call or a near return; of the prefixes those that compilers write before them. */
static bool moves_stack(const unsigned char *code, size_t size)
{
	while (size > 1 && (*code == 0xf3 || *code == 0xf2 || *code == 0x3e || *code == 0x2e || (*code & 0xf0) == 0x40))
		code++, size--;
	return *code == 0xe8 || *code == 0xc3 || *code == 0xc2 || (*code == 0xff && size > 1 && (code[1] >> 3 & 7) == 2);
}

static void translate_block(plugin_id id, struct qemu_plugin_tb *block)
{
	size_t instructions = qemu_plugin_tb_n_insns(block), size = 0, i;
	struct qemu_plugin_insn *insn = NULL;
	unsigned char code[LONGEST];

	fprintf(blocks, "%lx %lx ", (unsigned long)count, (unsigned long)qemu_plugin_tb_vaddr(block));
	for (i = 0; i < instructions; i++) {
		insn = qemu_plugin_tb_get_insn(block, i);
		fprintf(blocks, "%x", (unsigned)qemu_plugin_insn_size(insn));
		size = read_instruction(insn, code);
		if (is_mark(code, size, BEGIN))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, set_recording, NO_REGISTERS, (void *)1);
		if (is_mark(code, size, END))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, set_recording, NO_REGISTERS, NULL);
	}
	fputc(' ', blocks);
	for (i = 0; i < size; i++)
		fprintf(blocks, "%02x", code[i]);
	fputc('\n', blocks);
	if (insn && moves_stack(code, size))
		qemu_plugin_register_vcpu_mem_cb(insn, access_stack, NO_REGISTERS, LOADS_AND_STORES, NULL);
	qemu_plugin_register_vcpu_tb_exec_cb(block, execute_block, NO_REGISTERS, (void *)(uintptr_t)count++);
}

static void end(plugin_id id, void *data)
{
	fclose(blocks);
	fclose(steps);
}

static FILE *open_option(const char *option, const char *name)
{
	size_t length = strlen(name);

	return strncmp(option, name, length) || option[length] != '=' ? NULL : fopen(option + length + 1, "w");
}

EXPORT int qemu_plugin_install(plugin_id id, const void *about, int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; i++) {
		blocks = blocks ? blocks : open_option(argv[i], "blocks");
		steps = steps ? steps : open_option(argv[i], "steps");
	}
	if (!blocks || !steps) {
		fputs("trace: blocks=FILE and steps=FILE are needed\n", stderr);
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate_block);
	qemu_plugin_register_atexit_cb(id, end, NULL);
	return 0;
}

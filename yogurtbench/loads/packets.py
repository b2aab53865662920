"""Packets made by hand: the Internet checksum, ICMP echo requests, a forged UDP datagram. Pure."""

from __future__ import annotations

import socket
import struct

#: Type, code, checksum, identifier and sequence of an ICMP echo.
ICMP = struct.Struct("!BBHHH")
#: ICMP types of request and reply by IP version (RFC 792, RFC 4443).
ECHO = {4: (8, 0), 6: (128, 129)}


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(
    ip: int, identifier: int, sequence: int, body: bytes = b"yogurtbench-probe"
) -> bytes:
    """Return an ICMP echo request.

    Over IPv6 the kernel fills in the checksum (RFC 3542), over IPv4 we do.
    """
    header = ICMP.pack(ECHO[ip][0], 0, 0, identifier, sequence)
    if ip == 6:
        return header + body
    return header[:2] + struct.pack("!H", checksum(header + body)) + header[4:] + body


def udp_packet(source: str, destination: str, port: int, payload: bytes) -> bytes:
    """Return an IPv4 packet with one UDP datagram, without a checksum (RFC 768 allows that)."""
    udp = struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0)
    return header[:10] + struct.pack("!H", checksum(header + addresses)) + addresses + udp

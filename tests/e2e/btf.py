"""Type information of a kernel (BTF) made wrong: as much of its format as that takes, by the kernel's
Documentation/bpf/btf.rst."""
import struct

BTF = "/sys/kernel/btf/vmlinux"
STRUCT = 4
# What follows a type of each kind: bytes for each of its vlen elements, and bytes once.
EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
ONCE = {1: 4, 3: 12, 14: 4, 17: 4}


def moved_member(data, of, member, bits):
    """The same types, but for this member of this structure, which lies so many bits further on."""
    data = bytearray(data)
    header, type_off, type_len, str_off = struct.unpack_from("<4xIIII", data)
    at, end, strings = header + type_off, header + type_off + type_len, header + str_off

    def name(offset):
        return data[strings + offset:data.index(0, strings + offset)].decode()

    while at < end:
        name_off, info, _ = struct.unpack_from("<III", data, at)
        kind, vlen = info >> 24 & 0x1f, info & 0xffff
        at += 12
        if kind == STRUCT and name(name_off) == of:
            for i in range(vlen):
                member_name, _, offset = struct.unpack_from("<III", data, at + 12 * i)
                if name(member_name) == member:
                    struct.pack_into("<I", data, at + 12 * i + 8, offset + bits)
                    return bytes(data)
        at += EACH.get(kind, 0) * vlen + ONCE.get(kind, 0)
    raise ValueError(f"no struct {of} with a member {member}")

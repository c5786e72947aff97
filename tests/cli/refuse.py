"""Runs a command as another user in a world without some system calls: refuse.py UID GID ERRNO NUMBER,NUMBER... COMMAND..."""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000

uid, gid, errno = (int(word) for word in sys.argv[1:4])
numbers = [int(word) for word in sys.argv[4].split(",") if word]
# struct sock_filter: code, jumps if true and if false, operand. The number is the first word of struct seccomp_data.
program = [(LOAD, 0, 0, 0)]
program += [(JUMP_IF_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | errno)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
# Root needs no no_new_privs for it, which would keep newuidmap from its capabilities.
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)), 0, 0):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.setgroups([])
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
os.execvp(sys.argv[5], sys.argv[5:])

# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest and the agent in it (see init), for scripts on the host."""

import itertools
import pathlib
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent


def undated(member):
    """The same payload whenever it is made."""
    member.mtime = 0
    return member


class Guest:
    """Boots the guest of OUT; files are what it has besides, by name.

    A command that is given at once runs before the guest says that it is there:
    said() has its output.
    """

    def __init__(self, out, mode, work, files, image=None, kernel=None,
                 command=None):
        self.console = work / "console.log"
        self.command = command
        self.payload = payload = work / "payload.tar"
        shutil.copy(out / "measure.tar", payload)
        if command:
            (work / "command").write_text(command + "\n", encoding="utf-8")
            files = {**files, "command": work / "command"}
        with tarfile.open(payload, "a") as tar:
            for name, path in files.items():
                tar.add(path, f"pbitmap/{name}", filter=undated)
        self.tokens = itertools.count()
        self.qemu = subprocess.Popen(
            [HERE / "qemu", mode,
             kernel or out / "build/linux/arch/x86/boot/bzImage",
             image or out / "image/root.img", payload, self.console],
            text=True, bufsize=1, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def __enter__(self):
        self.answer("READY")
        return self

    def __exit__(self, *_):
        self.qemu.kill()
        self.qemu.wait()
        self.payload.unlink()

    def answer(self, token):
        text = ""
        for line in self.qemu.stdout:
            before, sign, status = line.rpartition(f"@@{token} ")
            if sign:
                return int(status), text + before
            text += line
        return sys.exit(f"the guest died; see {self.console}")

    def said(self):
        """What the first command put out; it has to have succeeded."""
        status, text = map(self.run, ("cat /run/status", "cat /run/said"))
        if int(status):
            sys.exit(f"in the guest, {self.command}: status {status}{text}")
        return text

    def run(self, command):
        """The output of a line of shell, which has to succeed."""
        token = f"T{next(self.tokens)}"
        self.qemu.stdin.write(f"{token} {command}\n")
        status, text = self.answer(token)
        if status:
            sys.exit(f"in the guest, {command}: status {status}:\n{text}")
        return text

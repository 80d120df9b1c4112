"""Kernels in virtual machines: Debian's kernel packages unpacked, an initramfs, qemu under emulation (no KVM is asked for).
Nothing is installed, and nothing but build/vm is written. For x86-64 the programs in the initramfs are this machine's own;
for arm64 they come from Debian's packages, unpacked by scripts/debian-packages.sh, and kongtap from scripts/build-arm64.sh.
"""
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / "build" / "vm"
HOST_RELEASE = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.M)[1]

TREES = ["/usr/lib/nginx/modules", "/usr/share/lua", "/usr/share/luajit-2.1", "/usr/lib/{triplet}/lua", "/usr/lib/ssl",
         "/etc/ssl/openssl.cnf", "/etc/ld.so.conf", "/etc/ld.so.conf.d"]
# This machine's, whatever the architecture: scripts of the packages make them, which are not run.
OURS = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services", "/etc/mime.types"]
# Found by name while they run: nothing that is linked with them says so.
LIBRARIES = ["libgcc_s.so.1", "libnghttp2.so.14"]
PYTHON_SKIP = re.compile(r"/(test|tests|idlelib|lib2to3|ensurepip|tkinter|distutils|pydoc_data|__pycache__|turtledemo|"
                         r"config-3[^/]*)(/|$)")


class VmError(RuntimeError):
    pass


@dataclass(frozen=True)
class Arch:
    debian: str
    triplet: str
    build: Path       # kongtap and its test tools
    qemu: tuple
    console: str
    programs: tuple


PROGRAMS = ("busybox", "nginx", "python3.11", "openssl", "curl", "ip", "ldconfig", "setpriv", "nghttp", "h2load")
ARCHS = {
    "amd64": Arch("amd64", "x86_64-linux-gnu", ROOT / "build", ("qemu-system-x86_64", "-cpu", "max"), "ttyS0", PROGRAMS),
    # Without pauth-impdef the emulated CPU computes a cryptographic signature at each call of a function.
    "arm64": Arch("arm64", "aarch64-linux-gnu", ROOT / "build-arm64",
                  ("qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"), "ttyAMA0", PROGRAMS),
}
# What the programs above come from, where they are not this machine's own.
ROOT_PACKAGES = ("nginx", "libnginx-mod-http-lua", "python3", "iproute2", "openssl", "curl", "nghttp2-client", "busybox-static",
                 "util-linux", "libc-bin", "base-passwd", "libcap-ng0", "libseccomp2", "libmicrohttpd12", "libyaml-0-2", "libbpf1",
                 "libjansson4", "libelf1")


@dataclass(frozen=True)
class Kernel:
    arch: str
    release: str  # of Debian
    package: str  # the meta package; what it points at changes with each security update


def _cells():
    cells = {
        "5.10": Kernel("amd64", "bullseye", "linux-image-cloud-amd64"),
        "5.10-rt": Kernel("amd64", "bullseye", "linux-image-rt-amd64"),
        "6.1": Kernel("amd64", "bookworm", "linux-image-cloud-amd64"),
        "6.1-rt": Kernel("amd64", "bookworm", "linux-image-rt-amd64"),
        "6.12": Kernel("amd64", "bookworm", "linux-image-6.12-cloud-amd64"),
        "6.12-rt": Kernel("amd64", "bookworm", "linux-image-6.12-rt-amd64"),
        "6.12-deb13": Kernel("amd64", "trixie", "linux-image-cloud-amd64"),
        "sid": Kernel("amd64", "sid", "linux-image-cloud-amd64"),
        "newest": Kernel("amd64", "trixie-backports", "linux-image-cloud-amd64"),
        "newest-rt": Kernel("amd64", "trixie-backports", "linux-image-rt-amd64"),
        "arm64-6.1": Kernel("arm64", "bookworm", "linux-image-cloud-arm64"),
        "arm64-6.12": Kernel("arm64", "bookworm", "linux-image-6.12-cloud-arm64"),
        "arm64-newest": Kernel("arm64", "trixie-backports", "linux-image-cloud-arm64"),
    }
    return cells


KERNELS = _cells()


def run(*argv, **how):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **how)
    if done.returncode:
        raise VmError(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def packages(arch, release, what, *names, folder=CACHE):
    return run(ROOT / "scripts" / "debian-packages.sh", folder, arch, release, what, *names).strip()


def kernel(cell):
    """(release, image) of a kernel, downloaded once."""
    package = packages(cell.arch, cell.release, "kernel", cell.package)
    return package.removeprefix("linux-image-"), CACHE / package / "vmlinuz"


class Tree:
    """The initramfs in the making: files of `base` ("/" or an unpacked root) under the same names, with their libraries."""

    def __init__(self, arch, base, root):
        self.arch, self.base, self.root = arch, Path(base), root
        shutil.rmtree(root, ignore_errors=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")

    def at_base(self, path):
        return self.base / str(path).lstrip("/")

    def library(self, name):
        for folder in (f"/lib/{self.arch.triplet}", f"/usr/lib/{self.arch.triplet}", "/lib", "/usr/lib", "/lib64"):
            if self.at_base(f"{folder}/{name}").exists():
                return f"{folder}/{name}"
        raise VmError(f"{name} is missing below {self.base}")

    def wanted_by(self, file):
        """The libraries that a file is linked with and the loader that it names, of whatever architecture they are."""
        done = subprocess.run(["readelf", "-W", "-d", "-l", file], capture_output=True, text=True)
        return ([self.library(name) for name in re.findall(r"\(NEEDED\).*\[(.*)\]", done.stdout)]
                + re.findall(r"interpreter: (.*)\]", done.stdout))

    def copy(self, path, source=None):
        """A file with the libraries that it wants, or a folder."""
        source, target = source or self.at_base(path), self.root / str(path).lstrip("/")
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=lambda at, names: [n for n in names if not (Path(at) / n).exists()])
            files = list(source.rglob("*.so"))
        else:
            shutil.copy2(source, target)
            files = [source]
        for file in files:
            with open(file, "rb") as head:
                elf = head.read(4) == b"\x7fELF"
            for library in self.wanted_by(file) if elf else []:
                self.copy(library)

    def program(self, name):
        for folder in ("/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"):
            if self.at_base(f"{folder}/{name}").exists():
                return self.copy(f"{folder}/{name}")
        raise VmError(f"{name} is missing below {self.base} (scripts/install-deps.sh test)")

    def python(self):
        top = self.at_base("/usr/lib/python3.11")
        for folder, folders, files in os.walk(top):
            folders[:] = [f for f in folders if not PYTHON_SKIP.search(f"{folder}/{f}")]
            for name in files:
                if name.endswith((".py", ".so")):
                    file = Path(folder) / name
                    self.copy("/" + str(file.relative_to(self.base)))
        (self.root / "usr/bin/python3").symlink_to("python3.11")

    def tests(self):
        for folder in ("tests/gateway", "tests/e2e", "tests/vm", "tests/bpf"):
            shutil.copytree(ROOT / folder, self.root / "kt" / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("kongtap", "tests/bpf/verifier", "tests/bpf/calls", "tests/bpf/tlscalls", "tests/bpf/preempt"):
            self.copy(f"/kt/build/{name}", self.arch.build / name)

    def pack(self, archive):
        with open(archive, "wb") as out:
            find = subprocess.Popen(["find", ".", "-print0"], cwd=self.root, stdout=subprocess.PIPE)
            cpio = subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"], cwd=self.root, stdin=find.stdout,
                                  stdout=out)
            if find.wait() or cpio.returncode:
                raise VmError("the initramfs could not be packed")


INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run/netns /var/log/nginx /var/lib/nginx /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/pts /dev/shm
/bin/busybox mount -t tmpfs shm /dev/shm
/bin/busybox mount -t tmpfs -o mode=1777 tmp /tmp
/bin/busybox mount -t tmpfs run /run
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
/sbin/ldconfig
ip link set lo up
cd /kt
echo "KT-BOOTED $(uname -r)"
python3 tests/vm/inside.py $(sed -n 's/.*kt-tests=\\([^ ]*\\).*/\\1/p' /proc/cmdline | tr , ' ') </dev/null 2>&1
echo "KT-EXIT $?"
sync
poweroff -f
"""


def initramfs(name):
    """One archive for all kernels of an architecture: programs with their libraries, the tests, kongtap. Not packed: the
    machine would take longer to unpack it than we to write it."""
    arch = ARCHS[name]
    base = "/"
    if name != os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"):
        packages(name, HOST_RELEASE, "root", *ROOT_PACKAGES, folder=CACHE / name)
        base = CACHE / name / "root"
    tree = Tree(arch, base, CACHE / f"tree-{name}")
    for program in arch.programs:
        tree.program(program)
    tree.python()
    for path in TREES:
        path = path.format(triplet=arch.triplet)
        if tree.at_base(path).exists():
            tree.copy(path)
    for path in OURS:
        if os.path.exists(path):
            tree.copy(path, Path(path))
    for library in LIBRARIES:
        tree.copy(tree.library(library))
    tree.tests()
    init = tree.root / "init"
    init.write_text(INIT)
    init.chmod(0o755)
    archive = CACHE / f"initramfs-{name}.cpio"
    tree.pack(archive)
    return archive


def boot(cell, image, archive, seconds, cpus=2, tests=()):
    """Boots and returns what the machine printed, without carriage returns. `tests`: names of inside.py's tests, none: all."""
    arch = ARCHS[cell.arch]
    argv = [*arch.qemu, "-accel", "tcg,thread=multi", "-smp", str(cpus), "-m", "2560", "-nographic", "-no-reboot", "-nic",
            "none", "-kernel", str(image), "-initrd", str(archive), "-append",
            f"console={arch.console} quiet panic=-1 mitigations=off random.trust_cpu=on kt-tests={','.join(tests)}"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as vm:
        try:
            out, _ = vm.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            vm.kill()
            out, _ = vm.communicate()
            out += b"\nKT-TIMEOUT\n"
        except BaseException:
            vm.kill()
            raise
    return out.decode("utf-8", "replace").replace("\r", "")

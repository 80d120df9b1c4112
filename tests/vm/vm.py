"""Kernels in virtual machines: Debian's packages unpacked, an initramfs made of this machine's own programs, qemu under
emulation (no KVM is asked for). Nothing is installed and nothing but build/vm is written.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / "build" / "vm"

# Debian's meta packages; what they point at changes with each security update.
KERNELS = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}

PROGRAMS = ["busybox", "nginx", "python3.11", "openssl", "curl", "ip", "nghttp", "h2load", "ldconfig", "setpriv"]
TREES = ["/usr/lib/nginx/modules", "/usr/share/lua", "/usr/share/luajit-2.1", "/usr/lib/x86_64-linux-gnu/lua",
         "/usr/lib/ssl", "/etc/ssl/openssl.cnf", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
         "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/protocols", "/etc/services", "/etc/mime.types"]
PYTHON_SKIP = re.compile(r"/(test|tests|idlelib|lib2to3|ensurepip|tkinter|distutils|pydoc_data|__pycache__|turtledemo|"
                         r"config-3[^/]*)(/|$)")


class VmError(RuntimeError):
    pass


def run(*argv, **how):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **how)
    if done.returncode:
        raise VmError(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kernel(name):
    """(release, bzImage) of one of KERNELS, downloaded once."""
    meta = KERNELS[name]
    depends = run("apt-cache", "depends", meta)
    match = re.search(r"Depends: (linux-image-\S+)", depends)
    if not match:
        raise VmError(f"{meta}: no kernel package behind it")
    package = match.group(1)
    folder = CACHE / package
    if not list(folder.glob("boot/vmlinuz-*")):
        folder.mkdir(parents=True, exist_ok=True)
        # apt drops its privileges for a download and wants a folder that its user may write to.
        folder.chmod(0o777)
        run("apt-get", "download", "-qq", package, cwd=folder)
        archive = next(folder.glob("*.deb"))
        run("dpkg-deb", "-x", archive, folder)
        archive.unlink()
    image = next(folder.glob("boot/vmlinuz-*"))
    return image.name.removeprefix("vmlinuz-"), image


def libraries_of(path):
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    return set(re.findall(r"(/\S+) \(0x", done.stdout))


def copy_into(root, path):
    target = Path(str(root) + str(path))
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_dir():
        shutil.copytree(path, target, symlinks=False, ignore_dangling_symlinks=True)
    else:
        shutil.copy2(path, target)


def copy_program(root, path):
    real = os.path.realpath(path)
    copy_into(root, path)
    for library in libraries_of(real):
        copy_into(root, library)


def copy_python(root):
    for folder, folders, files in os.walk("/usr/lib/python3.11"):
        folders[:] = [f for f in folders if not PYTHON_SKIP.search(f"{folder}/{f}")]
        for name in files:
            path = f"{folder}/{name}"
            if name.endswith((".py", ".so")):
                copy_into(root, path)
                if name.endswith(".so"):
                    for library in libraries_of(path):
                        copy_into(root, library)


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
python3 tests/vm/inside.py </dev/null 2>&1
echo "KT-EXIT $?"
sync
poweroff -f
"""


def initramfs(kongtap):
    """One archive for all kernels: programs with their libraries, the tests, kongtap."""
    root, archive = CACHE / "root", CACHE / "initramfs.gz"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in PROGRAMS:
        path = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
        if not path:
            raise VmError(f"{name} is missing here (scripts/install-deps.sh test)")
        copy_program(root, path)
    (root / "usr/bin/python3").symlink_to("python3.11")
    copy_python(root)
    for tree in TREES:
        if os.path.exists(tree):
            copy_into(root, tree)
    for module in Path("/usr/lib/nginx/modules").glob("*.so"):
        for library in libraries_of(module):
            copy_into(root, library)
    for folder in ("tests/gateway", "tests/e2e", "tests/vm"):
        shutil.copytree(ROOT / folder, root / "kt" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    copy_program(root, kongtap)
    (root / "kt/build").mkdir()
    shutil.copy2(kongtap, root / "kt/build/kongtap")
    init = root / "init"
    init.write_text(INIT)
    init.chmod(0o755)
    with open(archive, "wb") as out:
        find = subprocess.Popen(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE)
        cpio = subprocess.Popen(["cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"], cwd=root, stdin=find.stdout,
                                stdout=subprocess.PIPE)
        pack = subprocess.run(["gzip", "-1"], stdin=cpio.stdout, stdout=out)
        if find.wait() or cpio.wait() or pack.returncode:
            raise VmError("the initramfs could not be packed")
    return archive


def boot(image, archive, seconds, arguments=""):
    """Boots and returns what the machine printed, without carriage returns."""
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072", "-nographic",
            "-no-reboot", "-nic", "none", "-kernel", str(image), "-initrd", str(archive), "-append",
            f"console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on {arguments}"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as vm:
        try:
            out, _ = vm.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            vm.kill()
            out, _ = vm.communicate()
            out += b"\nKT-TIMEOUT\n"
    return out.decode("utf-8", "replace").replace("\r", "")

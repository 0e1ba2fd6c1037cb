"""Lays out what the Debian package holds, by the list in Cargo.toml, and looks at it: deb-test.py LEVERET SCRATCH

With a package as a third argument, as cargo-deb has made it, the list is compared with what is in there.
"""

import glob
import gzip
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parent.parent
ALIASES = ["rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-queues", "rabbitmq-plugins", "rabbitmq-upgrade", "rabbitmqadmin"]


def check(condition, why):
    if not condition:
        sys.exit(f"package: {why}")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lay_out(leveret, scratch):
    """Copies every asset to its place; returns the places with their rights."""
    release = scratch / "release"
    release.mkdir()
    shutil.copy(leveret, release / "leveret")
    run(str(ROOT / "packaging/papers"), str(leveret), str(release / "papers"))
    root, places = scratch / "root", {}
    for source, place, rights in tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]["assets"]:
        pattern = source.replace("target/release", str(release)) if source.startswith("target/") else str(ROOT / source)
        files = glob.glob(pattern)
        check(files, f"nothing is at {source}")
        for file in files:
            target = place + os.path.basename(file) if place.endswith("/") else place
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / target)
            (root / target).chmod(int(rights, 8))
            places[target] = int(rights, 8)
    return root, places


def main():
    leveret, scratch = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    scratch.mkdir(parents=True)
    root, places = lay_out(leveret, scratch)
    for place in ["usr/bin/leveret", "etc/leveret/leveret.toml", "etc/default/leveret", "usr/share/man/man1/leveret.1.gz"]:
        check(place in places, f"{place} is not there")
    check(places["etc/leveret/leveret.toml"] & 0o007 == 0, "anybody can read the settings, where passwords may stand")
    manual = gzip.decompress((root / "usr/share/man/man1/leveret.1.gz").read_bytes()).decode()
    check(manual.lstrip().startswith((".TH", ".ie")) and "leveret" in manual, "the manual is none")
    for name in ["leveret", *ALIASES]:
        completion = root / "usr/share/bash-completion/completions" / name
        run("bash", "-n", str(completion))
        check(name in completion.read_text(), f"the completion of {name} is another's")
        check((root / "usr/share/zsh/vendor-completions" / f"_{name}").read_text().startswith("#compdef"), f"zsh: {name}")
        check((root / "usr/share/fish/vendor_completions.d" / f"{name}.fish").stat().st_size > 0, f"fish: {name}")
    for script in ["debian/postinst", "debian/prerm", "image/lay-out"]:
        text = (ROOT / "packaging" / script).read_text()
        for name in ALIASES:
            check(name in text, f"{script} does not know {name}")
    for name in ALIASES:
        link = scratch / name
        link.symlink_to(root / "usr/bin/leveret")
        answer = subprocess.run([link, "--help"], capture_output=True, text=True)
        check(answer.returncode in (0, 64) and name in answer.stdout + answer.stderr, f"{name} does not answer to its name")
    config = root / "etc/leveret/leveret.toml"
    run(str(root / "usr/bin/leveret"), "config", "check", "--config", str(config), "--data-dir", str(scratch / "data"))
    if len(sys.argv) > 3:
        unpacked = scratch / "unpacked"
        run("dpkg", "-x", sys.argv[3], str(unpacked))
        found = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
        # What is documentation may have been compressed.
        missing = [place for place in places if not {place, place + ".gz"} & found]
        check(not missing, f"the package lacks {missing}")
        check(any(place.endswith("system/leveret.service") for place in found), "the package lacks the unit")
    print(f"{len(places)} files")


main()

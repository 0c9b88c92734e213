"""Checks the Rust versions that the README states against those that the dependencies declare."""

import json
import subprocess
import sys

CASES = [
    ("1.88", ["--no-default-features", "--features", "aws-lc-rs,rust-crypto,axum,tracing,testing"]),
    ("1.94", ["--all-features"]),
]


def number(version):
    return tuple(int(part) for part in version.split(".")[:2])


def newer_than(stated, flags):
    """The normal dependencies that declare a newer Rust than is stated."""
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}", *flags],
        check=True, capture_output=True, text=True,
    ).stdout
    used = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    metadata = json.loads(subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"],
        check=True, capture_output=True, text=True,
    ).stdout)
    return [
        f"{package['name']} {package['version']} needs {package['rust_version']}"
        for package in metadata["packages"]
        if (package["name"], "v" + package["version"]) in used
        and package["rust_version"] and number(package["rust_version"]) > number(stated)
    ]


failed = 0
for stated, flags in CASES:
    offenders = newer_than(stated, flags)
    failed += bool(offenders)
    print(f"Rust {stated} with {' '.join(flags)}: {'; '.join(offenders) or 'enough'}")
readme = open("README.md", encoding="utf-8").read()
if not all(stated in readme for stated, _ in CASES):
    failed += 1
    print("the README does not state these versions")
print(f"{len(CASES) + 1 - failed} passed, {failed} failed")
sys.exit(bool(failed))

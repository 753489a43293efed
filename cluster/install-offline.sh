#!/bin/sh
# Install yfccdask from a folder of wheels, without a network, into an environment of its own that
# sees the packages of the node's Python; those stay as they are.
#   sh install-offline.sh ENVIRONMENT [PYTHON]       # from the folder that `make wheelhouse` made
set -eu
here=$(cd "$(dirname "$0")" && pwd)
environment=${1:?expected the environment to make, found none: sh install-offline.sh ENVIRONMENT [PYTHON]}
python=${2:-python3}

if [ -e "$environment" ]; then
  echo "expected no $environment yet, found one: name another, or remove it" >&2
  exit 1
fi
(cd "$here" && sha256sum --check --quiet SHA256SUMS) || {
  echo "expected the wheels of SHA256SUMS in $here, found others: copy the folder again" >&2
  exit 1
}
# Without ensurepip (Debian's python3 has none), the node's own pip installs.
"$python" -m venv "$environment" 2>/dev/null || "$python" -m venv --clear --without-pip "$environment"
"$python" - "$environment" <<'END'
"""The new environment sees what this Python sees, whether that is a venv, conda's or the system's."""
import sys
from pathlib import Path

folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
lines = [f"import site; site.addsitedir({folder!r})" for folder in folders]
(packages,) = Path(sys.argv[1]).glob("lib/python*/site-packages")
(packages / "node.pth").write_text("\n".join(lines) + "\n")
END
pip="$environment/bin/python -m pip"
$pip --version >/dev/null 2>&1 || pip="$python -m pip --python $environment/bin/python"
$pip install --quiet --disable-pip-version-check --no-index --find-links "$here" \
  --requirement "$here/requirements.txt"
"$environment/bin/yfccdask" --version
echo "installed: $environment/bin/yfccdask; next: $environment/bin/yfccdask doctor"

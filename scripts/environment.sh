# Sourced by the other scripts. Sets PYTHON to an interpreter that has everything in the given requirement files.
#
#   prepare_environment requirements.txt [requirements-test.txt]
#
# The active environment is used when it already has MindSpore (Ascend machines come with one). Otherwise a virtual
# environment is made in .venv of the repository and reused from then on. CREATE_WITH=python3.11 chooses its Python.
# A file is installed again when it has changed, or the interpreter has.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

fail() {
    echo "error: $*" >&2
    exit 2
}

supported() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

has_mindspore() {
    supported "$1" && "$1" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("mindspore") is None)'
}

find_python() {
    local candidate
    for candidate in ${CREATE_WITH:-python3 python3.12 python3.11 python3.10 python}; do
        if supported "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

prepare_environment() {
    local file stamp base
    PYTHON=""
    for base in python3 python; do
        if has_mindspore "$base"; then
            PYTHON="$(command -v "$base")"
            echo "using the active environment: $PYTHON"
            break
        fi
    done
    if [ -z "$PYTHON" ]; then
        PYTHON="$ROOT/.venv/bin/python"
        if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
            base="$(find_python)" || fail "expected Python 3.10, 3.11 or 3.12 on the PATH, found none;" \
                "install one, or name it: CREATE_WITH=/path/to/python3.11"
            echo "making the virtual environment $ROOT/.venv with $("$base" --version)"
            rm -rf "$ROOT/.venv"
            "$base" -m venv "$ROOT/.venv" || fail "cannot make a virtual environment with $base" \
                "(on Debian and Ubuntu: apt install python3-venv)"
        fi
    fi

    # an installed MindSpore is never replaced: on Ascend it fits the installed CANN
    local keep=()
    local version
    version="$("$PYTHON" -c 'from importlib.metadata import version; print(version("mindspore"))' 2>/dev/null)" || version=""
    # a stamp lies in the environment itself and says what was installed, by which interpreter
    local interpreter wanted
    interpreter="$("$PYTHON" -c 'import os, sys
print(sys.prefix, os.path.realpath(sys.executable), sys.version, sep="\n")')"
    for file in "$@"; do
        stamp="${interpreter%%$'\n'*}/tnt-mindspore-$(basename "$file")"
        wanted="$interpreter"$'\n'"$(cat "$ROOT/$file")"
        if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
            continue
        fi
        if [ -n "$version" ]; then
            keep=("mindspore==$version")
        fi
        echo "installing $file"
        rm -f "$stamp" 2>/dev/null || true
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --requirement "$ROOT/$file" \
            "${keep[@]}" || fail "pip could not install $file; see its messages above"
        printf '%s\n' "$wanted" 2>/dev/null >"$stamp" || true # who may not write there installs each time
    done
}

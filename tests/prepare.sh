#!/usr/bin/env bash
# Finds or installs what the whole suite wants beside Python: Chromium and a PostgreSQL server.
# Where it cannot, it says so in one line, and the tests that want it are reported as skipped.
set -u
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

have_browser() { .venv/bin/python -c 'import sys; from tests.browser import chromium_path; sys.exit(not chromium_path())'; }
have_postgres() { .venv/bin/python -c 'import sys; from tests.postgres import server_programs; sys.exit(not server_programs())'; }
apt_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq >"$log" 2>&1 &&
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1; }

if ! have_browser; then
  echo "Installing Chromium for the browser tests …"
  apt_install chromium fonts-dejavu-core || .venv/bin/playwright install chromium >"$log" 2>&1
  have_browser || echo "No Chromium was found or could be installed (install 'chromium', or set CHROMIUM to its path): the browser tests will be skipped."
fi
if ! have_postgres; then
  echo "Installing PostgreSQL for its leg of the tests …"
  apt_install postgresql
  have_postgres || echo "No PostgreSQL server was found or could be installed (install 'postgresql'): its leg will be skipped."
fi
exit 0

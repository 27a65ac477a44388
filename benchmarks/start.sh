#!/usr/bin/env bash
# Times the first command of the README in a fresh clone: the installation, the first start with its demo, a later start.
# Usage: benchmarks/start.sh [FOLDER]   (an empty or absent folder; default: a temporary one)
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$(mktemp -d)}
git clone --quiet "$source" "$folder/gazeroom"
cd "$folder/gazeroom"
port=${PORT:-8431} agent_port=${AGENT_PORT:-8432}

start_and_stop() { # until ready, then as Ctrl-C does
  local began=$SECONDS
  make run PORT="$port" AGENT_PORT="$agent_port" >"$1.log" 2>&1 &
  local job=$!
  until [ -f var/run/ready ]; do kill -0 $job 2>/dev/null || { cat "$1.log"; exit 1; }; sleep 0.2; done
  echo "$2: $((SECONDS - began)) s"
  pkill -INT -f "manage.py up --port $port"
  began=$SECONDS
  wait $job || true
  echo "stopped after $((SECONDS - began)) s"
}

began=$SECONDS
make .venv/.installed >install.log 2>&1
echo "install: $((SECONDS - began)) s, $(du -sh .venv | cut -f1)"
start_and_stop first "first start with the demo"
echo "var: $(du -sh var | cut -f1)"
start_and_stop second "second start"

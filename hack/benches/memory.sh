#!/usr/bin/env bash
# hack/bench memory [--limit MIB]
# Resident memory of a release build that serves the webhooks only, idle, after the embedded cluster has been installed
# to and a hundred reviews were answered. Exit status 1 above the limit (20 MiB).
set -eu
limit=20
[ "${1:-}" != --limit ] || limit=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
binary=${VERDIGRIS:-}
if [ -z "$binary" ]; then
  cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" --bin verdigris >&2
  binary=${CARGO_TARGET_DIR:-$root/target}/release/verdigris
fi
work=$(mktemp -d) process=""
end() { [ -z "$process" ] || kill "$process" 2>/dev/null || true; "$root/hack/cluster" down "$work/cluster"; rm -rf "$work"; }
trap end EXIT
"$root/hack/cluster" up "$work/cluster" >/dev/null
port=$((20000 + $$ % 20000))
"$binary" run --kubeconfig "$work/cluster/kubeconfig" --controller=false --install --listen "127.0.0.1:$port" \
  --webhook-url "https://127.0.0.1:$port" --log-level warn 2>"$work/log" &
process=$!
for _ in $(seq 300); do
  curl -ksf -o /dev/null "https://127.0.0.1:$port/readyz" && break
  kill -0 "$process" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
rss() { sed -n "s/^$1:[[:space:]]*\([0-9]*\) kB/\1/p" "/proc/$process/status"; }
cold=$(rss VmRSS)
review='{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"group":"flagger.app","version":"v1beta1","kind":"Canary"},"resource":{"group":"flagger.app","version":"v1beta1","resource":"canaries"},"name":"a","namespace":"default","operation":"CREATE","object":{"apiVersion":"flagger.app/v1beta1","kind":"Canary","metadata":{"name":"a","namespace":"default"},"spec":{"targetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"a"},"service":{"port":80},"analysis":{"interval":"1m","threshold":2,"iterations":3,"metrics":[{"name":"e","interval":"1m","thresholdRange":{"max":1},"query":"sum(rate(http_requests_total{status=~\"5..\"}[1m]))"}]}}}}'
for _ in $(seq 100); do
  curl -ksf -o /dev/null -H 'content-type: application/json' -d "$review" "https://127.0.0.1:$port/validate"
done
# Idle: the memory of the last review is back.
sleep 2
idle=$(rss VmRSS) peak=$(rss VmHWM)
size=$(stat -c %s "$binary")
awk -v cold="$cold" -v idle="$idle" -v peak="$peak" -v size="$size" -v limit="$limit" 'BEGIN {
  printf "webhook only, release build of %.1f MiB\n", size / 1048576
  printf "| at ready | idle after 100 reviews | peak | limit |\n|---|---|---|---|\n"
  printf "| %.1f MiB | %.1f MiB | %.1f MiB | %d MiB |\n", cold / 1024, idle / 1024, peak / 1024, limit
  exit (idle / 1024 >= limit)
}'

#!/usr/bin/env bash
# Builds Stickfast twice: once so that it counts where it goes under load of every kind, and once more
# as those counts tell. `make pgo` calls it; make installs what it needs.
#
#   loadtest/pgo.sh TARGET [TARGET_CPU]     the binary is TARGET/pgo/stickfast
#
# It needs an llvm-profdata of the compiler's own LLVM: of rustup's llvm-tools, or of the system.
set -euo pipefail

target=$(realpath -m "$1")
cpu=${2:-}
work=$target/pgo
here=$(cd "$(dirname "$0")" && pwd)
seconds=${PGO_SECONDS:-4}
host=$(rustc -vV | sed -n 's/^host: //p')

profdata=$("$here/../.ci/install-tools" --profdata)

# Sessions that come back, new ones, new connections, bodies both ways, TLS and HTTP/2: what is not
# in here is taken for rare.
scenarios=sticky,first,churn,up-100k,down-100k,tls,handshakes,http2

build() {
    rm -rf "${work:?}/$2"
    CARGO_ENCODED_RUSTFLAGS="$1${cpu:+$'\x1f'-Ctarget-cpu=$cpu}" cargo build --release --locked \
        --bin stickfast --target "$host" --target-dir "$work/$2"
}

cargo build --release --locked --example backend --target-dir "$target"
rm -rf "$work/counts" "$work/load"
mkdir -p "$work/counts" "$work/load"
build "-Cprofile-generate=$work/counts" counting
"$here/load.py" --stickfast "$work/counting/$host/release/stickfast" --proxies stickfast \
    --examples "$target/release/examples" --peers "$target/peers" --scenarios "$scenarios" \
    --rounds 1 --seconds "$seconds" --out "$work/load" | tee "$work/load/log"
if grep -q 'LEFT OUT' "$work/load/log"; then
    echo 'pgo: some of the load was left out, and would count as rare' >&2
    exit 1
fi
"$profdata" merge -o "$work/counts.profdata" "$work/counts"
build "-Cprofile-use=$work/counts.profdata" counted
cp "$work/counted/$host/release/stickfast" "$work/stickfast"
echo "$work/stickfast"

#!/usr/bin/env bash
# Builds Stickfast twice: once so that it counts where it goes under load of every kind, and once more
# as those counts tell. `make pgo` calls it; make installs what it needs. Where nothing has changed since
# the last time, there is nothing to do.
#
#   loadtest/pgo.sh TARGET [TARGET_CPU]     the binary is TARGET/pgo/stickfast
#
# It needs an llvm-profdata of the compiler's own LLVM: of rustup's llvm-tools, or of the system.
set -euo pipefail

target=$(realpath -m "$1")
cpu=${2:-}
work=$target/pgo
cd "$(dirname "$0")/.."
seconds=${PGO_SECONDS:-4}
host=$(rustc -vV | sed -n 's/^host: //p')

profdata=$(.ci/install-tools --profdata)

# Sessions that come back, new ones, new connections, bodies both ways, TLS and HTTP/2: what is not
# in here is taken for rare.
scenarios=sticky,first,churn,up-100k,down-100k,tls,handshakes,http2

# Both with the same profile: it is part of the names of functions, by which the counts are found again.
build() {
    CARGO_ENCODED_RUSTFLAGS="$1${cpu:+$'\x1f'-Ctarget-cpu=$cpu}" cargo build --release --locked \
        --bin stickfast --target "$host" --target-dir "$work/build"
}

# What the binary is made of, and what decides how.
ingredients() {
    find src conf .cargo Cargo.toml Cargo.lock loadtest/backend.rs loadtest/*.py loadtest/*.lua loadtest/pgo.sh \
        -type f -print0 | sort -z | xargs -0 sha256sum
    rustc -vV
    env | grep -E '^(CARGO_(ENCODED|PROFILE)_|RUST|CC|CFLAGS|LDFLAGS|JEMALLOC)' | sort || true
    echo "$scenarios $seconds $cpu"
}

made_of=$(ingredients | sha256sum)
if [[ -x $work/stickfast && $made_of == "$(cat "$work/made-of" 2>/dev/null)" ]]; then
    echo "$work/stickfast is up to date"
    exit
fi
cargo build --release --locked --example backend --target-dir "$target"
# What is built is built anew: cargo does not look into the counts, and would keep libraries of earlier ones.
rm -rf "$work/build" "$work/counts" "$work/load" "$work/made-of"
mkdir -p "$work/counts" "$work/load"
built=$work/build/$host/release/stickfast
build "-Cprofile-generate=$work/counts"
loadtest/load.py --stickfast "$built" --proxies stickfast \
    --examples "$target/release/examples" --peers "$target/peers" --scenarios "$scenarios" \
    --rounds 1 --seconds "$seconds" --out "$work/load" | tee "$work/load/log"
if grep -q 'LEFT OUT' "$work/load/log"; then
    echo 'pgo: some of the load was left out, and would count as rare' >&2
    exit 1
fi
"$profdata" merge -o "$work/counts.profdata" "$work/counts"
build "-Cprofile-use=$work/counts.profdata"
cp "$built" "$work/stickfast"
echo "$made_of" >"$work/made-of"
echo "$work/stickfast"

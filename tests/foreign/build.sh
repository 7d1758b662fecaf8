#!/usr/bin/env bash
# Builds the tests of $1 (librdkafka, kafka-go, rdkafka, rskafka) in the folder $2.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
what=$1 folder=$2
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"

# The sources of a crate, out of what `cargo vendor` fetches.
crate() {
    cargo vendor --quiet --locked --manifest-path "$here/Cargo.toml" "$folder.vendor" >/dev/null
    cp -r "$folder.vendor/$1" "$folder"
    rm -f "$folder/rust-toolchain.toml" "$folder/.cargo-checksum.json"
    [ -f "$folder/Cargo.toml" ] && printf '\n[workspace]\n\n[profile.dev]\ndebug = false\n' >>"$folder/Cargo.toml"
    rm -rf "$folder.vendor"
}

# The test binaries of a crate, one path a line in `binaries`.
binaries() {
    CARGO_TARGET_DIR=$folder/target cargo test --tests --no-run "$@" 2>&1 | tee build.log
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p' build.log | grep -v '/\(java_helper\|rdkafka_helper\|test_helpers\|utils\)-' >binaries
}

case $what in
librdkafka)
    crate rdkafka-sys/librdkafka
    cd "$folder"
    # A file called configure.log here would be taken for a part of configure.
    bash ./configure --no-download | tee "$folder.configured"
    # Without RapidJSON dozens of tests skip themselves.
    grep -q 'checking for rapidjson.*ok' "$folder.configured"
    # Some tests make topics of three replicas, and there is one node.
    sed -i 's/NewTopic_new(topicname, partition_cnt, replication_factor,/NewTopic_new(topicname, partition_cnt, 1,/' tests/test.c
    make -j"$(nproc)" libs
    make -j"$(nproc)" -C tests build
    ;;
kafka-go)
    source=$(go mod download -json github.com/segmentio/kafka-go@v0.4.50 | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
    cp -r "$source" "$folder"
    chmod -R u+w "$folder"
    cd "$folder"
    go test -mod=mod -c -o tests.bin .
    ;;
rdkafka)
    crate rdkafka
    cd "$folder"
    binaries
    ;;
rskafka)
    crate rskafka
    cd "$folder"
    cargo update --quiet -p rsasl
    binaries
    ;;
esac

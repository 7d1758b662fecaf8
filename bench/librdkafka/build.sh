#!/usr/bin/env bash
# Builds librdkafka's rdkafka_performance in the folder $1: the sources come out of the crate rdkafka-sys.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=$1
cargo vendor --quiet --manifest-path "$here/Cargo.toml" "$tools/vendor" >/dev/null
rm -rf "$tools/librdkafka"
cp -r "$tools/vendor/rdkafka-sys/librdkafka" "$tools/librdkafka"
rm -rf "$tools/vendor"
cd "$tools/librdkafka"
# A file called configure.log here would be taken for a part of configure.
bash ./configure --disable-ssl --disable-gssapi --disable-curl --enable-zstd --no-download
make -j"$(nproc)" libs
make -C examples rdkafka_performance

# The few commands of a developer's day; CONTRIBUTING.md says more.

demo *args:
    cargo run --release -- demo {{args}}

run:
    cargo run --release -- run --config config/linli.toml

test:
    cargo test --workspace

lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

bench *args:
    cargo bench --bench gateway -- {{args}}

# Hours of it, one decoder after the other: just fuzz 3600
fuzz *args:
    fuzz/run {{args}}

ci:
    bash .ci/run

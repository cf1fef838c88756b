//! The `stickfast` binary; everything is in the library.

use tikv_jemallocator::Jemalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    stickfast::cli::main()
}

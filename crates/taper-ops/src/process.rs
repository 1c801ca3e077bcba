//! Settings of the process that must be made before its first thread, and a check that they have been made.

use candle_core::{Device, Result, Var, bail};

/// `mi_option_purge_delay` in mimalloc.h, versions 2 and 3: milliseconds until unused pages go
/// back to the system, -1 for never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Whether errors hold a backtrace, whatever `RUST_BACKTRACE` says for panics.
const ERROR_BACKTRACE: &str = "RUST_LIB_BACKTRACE";

/// Sets candle's process-wide switches, and tells mimalloc to keep its pages.
///
/// - `CANDLE_GRAD_DO_NOT_DETACH=1`: gradients of gradients stay tracked.
/// - `CANDLE_NUM_THREADS=1`: candle's own thread pool, whose threads spin while they wait, has one
///   thread. Operations of this crate run in parallel over tasks and images instead.
/// - `RUST_LIB_BACKTRACE=0`, unless it is set: candle would add a page of backtrace to the text of every error
///   where `RUST_BACKTRACE` is set, as it often is.
/// - If mimalloc is the program's allocator, it does not return unused pages to the system: a
///   training step needs the memory of the step before.
///
/// # Safety
/// Setting environment variables is undefined behavior while another thread reads them. Call this
/// as the first statement of `main`, before any thread exists:
///
/// ```
/// // SAFETY: the first statement of main, before any thread exists.
/// unsafe { taper_ops::configure_process() };
/// ```
#[allow(unsafe_code)]
pub unsafe fn configure_process() {
    for (key, value) in [("CANDLE_GRAD_DO_NOT_DETACH", "1"), ("CANDLE_NUM_THREADS", "1")] {
        // SAFETY: the caller promises that no other thread runs yet.
        unsafe { std::env::set_var(key, value) };
    }
    if std::env::var_os(ERROR_BACKTRACE).is_none() {
        // SAFETY: as above.
        unsafe { std::env::set_var(ERROR_BACKTRACE, "0") };
    }
    // SAFETY: mimalloc stores the number under its own lock.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

/// Checks that second derivatives are exact on this thread.
///
/// The second derivative of v³ at 3 is 18; candle's detaching mode gives 12.
///
/// # Errors
/// Returns an error if they are not, because [`configure_process`] was not called in time.
///
/// ```no_run
/// # // SAFETY: a documentation test starts no thread before.
/// unsafe { taper_ops::configure_process() };
/// taper_ops::second_order_probe()?;
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn second_order_probe() -> Result<()> {
    let v = Var::new(3f64, &Device::Cpu)?;
    let first = (v.as_tensor() * v.as_tensor())?.mul(v.as_tensor())?.backward()?;
    let slope = match first.get(&v) {
        Some(slope) => slope.clone(),
        None => bail!("candle returned no gradient for v³"),
    };
    let curvature = match slope.backward()?.get(&v) {
        Some(second) => second.to_scalar::<f64>()?,
        None => 0.0,
    };
    if (curvature - 18.0).abs() > 1e-9 {
        bail!(
            "second derivatives are cut off on this thread (v³ at 3 gave {curvature}, not 18): \
             call taper_ops::configure_process() as the first statement of main"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn second_derivatives_are_kept_in_tests() {
        super::second_order_probe().unwrap();
    }
}

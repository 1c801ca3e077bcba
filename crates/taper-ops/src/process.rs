//! What must be set before the first thread starts, and the probe that tells whether it was.

use candle_core::{Device, Result, Var, bail};

/// `mi_option_purge_delay` in mimalloc.h, versions 2 and 3: milliseconds until unused pages go
/// back to the system, -1 for never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Sets candle's process-wide switches: gradients of gradients stay tracked
/// (`CANDLE_GRAD_DO_NOT_DETACH=1`), and candle's own spinning thread pool is held to one thread
/// (`CANDLE_NUM_THREADS=1`), because Taper runs in parallel over tasks and images instead. And has
/// mimalloc, where the program's allocator is that, keep its pages: a training step asks for the
/// same memory as the one before, and getting it from the system anew costs more than computing.
///
/// # Safety
/// Setting environment variables is undefined behavior while another thread reads them. Call
/// this as the first statement of `main`, before any thread exists.
#[allow(unsafe_code)]
pub unsafe fn configure_process() {
    for (key, value) in [("CANDLE_GRAD_DO_NOT_DETACH", "1"), ("CANDLE_NUM_THREADS", "1")] {
        // SAFETY: the caller promises that no other thread runs yet.
        unsafe { std::env::set_var(key, value) };
    }
    // SAFETY: sets a number, under a lock of its own; unused memory is then never given back.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

/// Errs unless second derivatives are exact on this thread.
///
/// The second derivative of v³ at 3 is 18; in candle's detaching mode one gets 12.
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

//! Whether every value is finite after training.

use crate::{Progress, Result};
use candle_core::{DType, Storage, Tensor};
use taper_models::State;

/// The first part of a run's progress with a NaN or infinite value, by name; `None` if all are finite.
pub(crate) fn not_finite(progress: &Progress) -> Result<Option<String>> {
    let Progress { state, moments, average, .. } = progress;
    let of_state = |what: &str, state: &State| -> Result<Option<String>> {
        let found = first(state.params.iter())?.map(|name| format!("the {what} of parameter `{name}`"));
        match found {
            Some(found) => Ok(Some(found)),
            None => Ok(first(state.buffers.iter())?.map(|name| format!("the {what} of statistic `{name}`"))),
        }
    };
    if let Some(found) = of_state("value", state)? {
        return Ok(Some(found));
    }
    if let Some(average) = average
        && let Some(found) = of_state("average", average)?
    {
        return Ok(Some(found));
    }
    let moment = first(moments.first.iter().chain(moments.second.iter()))?;
    Ok(moment.map(|name| format!("the optimizer's moment of parameter `{name}`")))
}

/// The name of the first tensor that is not finite.
fn first<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<Option<String>> {
    for (name, tensor) in tensors {
        if !is_finite(tensor)? {
            return Ok(Some(name.to_string()));
        }
    }
    Ok(None)
}

/// Reads the values in place; other types than f32 and f64, and other devices, are copied.
fn is_finite(tensor: &Tensor) -> Result<bool> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(values), Some((start, end))) = (&*storage, layout.contiguous_offsets()) {
        match tensor.dtype() {
            DType::F32 => return Ok(values.as_slice::<f32>()?[start..end].iter().all(|value| value.is_finite())),
            DType::F64 => return Ok(values.as_slice::<f64>()?[start..end].iter().all(|value| value.is_finite())),
            _ => {}
        }
    }
    drop(storage);
    let values = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(values.iter().all(|value| value.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn one_nan_anywhere_is_found_in_every_type_and_layout() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let tensor =
                |values: &[f64]| Tensor::from_slice(values, (3, 4), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            assert!(is_finite(&tensor(&values)).unwrap());
            for place in 0..12 {
                for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let mut values = values.clone();
                    values[place] = wrong;
                    let whole = tensor(&values);
                    assert!(!is_finite(&whole).unwrap());
                    assert!(!is_finite(&whole.t().unwrap()).unwrap());
                    let row = whole.narrow(0, 1, 1).unwrap();
                    assert_eq!(is_finite(&row).unwrap(), place / 4 != 1, "only the tensor's own values count");
                }
            }
        }
    }
}

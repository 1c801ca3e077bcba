//! The tensors of a whole module, as `torch.save(model)` and TorchScript describe it: an object
//! with parameters, buffers and other modules as attributes. Only its description is read.

use super::Read;
use super::tensor::Strided;
use super::value::{Foreign, Object, Pickle, Value};
use crate::weights::limits;

/// The module's tensors by the names that its state dict would give them; empty if the object is
/// not a module.
///
/// Fails if there are too many, or they are nested too deeply.
pub(super) fn tensors<'p, 'a>(pickle: &'p Pickle<'a>, module: &'p Foreign<'a>) -> Read<Vec<(String, &'p Strided<'a>)>> {
    let mut walk = Walk { pickle, tensors: Vec::new(), modules: 0 };
    walk.module(module, &mut Vec::new())?;
    Ok(walk.tensors)
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    tensors: Vec<(String, &'p Strided<'a>)>,
    /// Modules visited; one that is used twice counts twice.
    modules: usize,
}

impl<'p, 'a> Walk<'p, 'a> {
    fn module(&mut self, module: &'p Foreign<'a>, path: &mut Vec<&'a str>) -> Read<()> {
        self.modules += 1;
        if path.len() > limits::NESTING || self.modules > limits::TENSORS {
            return Err("describes modules that are nested without end: save a state dict instead".into());
        }
        // TorchScript keeps all three kinds as plain attributes
        if module.class.module.starts_with("__torch__") {
            return self.entries(module.state, path);
        }
        for kind in ["_parameters", "_buffers", "_modules"] {
            if let Some(entries) = self.pickle.attribute(module, kind) {
                self.entries(entries, path)?;
            }
        }
        Ok(())
    }

    fn entries(&mut self, entries: Value, path: &mut Vec<&'a str>) -> Read<()> {
        let pickle = self.pickle;
        for &(key, value) in pickle.dict(entries).unwrap_or_default() {
            let Some(key) = pickle.text(key).filter(|key| key.len() <= limits::NAME_BYTES) else { continue };
            path.push(key);
            match pickle.object(value) {
                Some(Object::Tensor(tensor)) => {
                    if self.tensors.len() >= limits::TENSORS {
                        return Err(format!("holds more than {} tensors: save the network's alone", limits::TENSORS));
                    }
                    let name = path.join(".");
                    if name.len() > limits::NAME_BYTES {
                        return Err("has a tensor with an endless name: save a state dict instead".into());
                    }
                    self.tensors.push((name, tensor));
                }
                Some(Object::Foreign(module)) => self.module(module, path)?,
                _ => {}
            }
            path.pop();
        }
        Ok(())
    }
}

//! The pickle machine: protocols 2 to 5, as far as state dicts need them.

use super::Read;
use super::tensor::{StorageRef, Strided, dtype_of_storage};
use super::value::{Global, Object, Pickle, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// More than any state dict needs: some thirty a tensor. Bounds time and memory.
const STEPS_AT_MOST: usize = 4_000_000;
/// More dimensions than any network's tensors have.
const DIMENSIONS_AT_MOST: usize = 8;

/// Runs the pickle at the beginning of `bytes`, up to its stop.
///
/// Errs on the first thing that is neither a tensor nor a plain container, naming it.
pub(super) fn run(bytes: &[u8]) -> Read<Pickle> {
    let mut machine = Machine { bytes, ..Machine::default() };
    loop {
        machine.count_steps(1)?;
        let opcode = machine.byte()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { root, objects: machine.objects, length: machine.at });
        }
        machine.step(opcode)?;
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    steps: usize,
    stack: Vec<Value>,
    /// Heights of the stack at the marks set and not yet used.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
}

fn broken(what: &str) -> String {
    format!("its pickle is broken ({what}): fetch the file again")
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Read<()> {
        match opcode {
            // PROTO and FRAME
            0x80 => self.take(1).map(|_| ()),
            0x95 => self.take(8).map(|_| ()),

            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),

            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()))
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Int(number.into()))
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(number.into()))
            }
            // LONG1
            0x8a => {
                let length = self.byte()?;
                let number = long(self.take(length.into())?);
                self.push(number)
            }
            // BINFLOAT
            b'G' => self.opaque(8),

            // text: BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, and Python 2's BINSTRING, SHORT_BINSTRING
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.array()?);
                self.text(length.into())
            }
            0x8c | b'U' => {
                let length = self.byte()?;
                self.text(length.into())
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)
            }
            // BINBYTES, SHORT_BINBYTES, BINBYTES8
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.opaque(length.into())
            }
            b'C' => {
                let length = self.byte()?;
                self.opaque(length.into())
            }
            0x8e => {
                let length = u64::from_le_bytes(self.array()?);
                self.opaque(length)
            }

            b')' => self.make(Object::Tuple(Vec::new())),
            b't' => {
                let values = self.pop_mark()?;
                self.make(Object::Tuple(values))
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let start = start.filter(|&start| start >= self.floor()).ok_or_else(|| broken("an empty stack"))?;
                let values = self.stack.split_off(start);
                self.make(Object::Tuple(values))
            }
            b']' => self.make(Object::List(Vec::new())),
            b'a' => {
                let value = self.pop()?;
                self.append(vec![value])
            }
            b'e' => {
                let values = self.pop_mark()?;
                self.append(values)
            }
            b'}' => self.make(Object::Dict(Vec::new())),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])
            }
            b'u' => {
                let values = self.pop_mark()?;
                self.set_items(values)
            }

            // BINPUT, LONG_BINPUT, MEMOIZE; BINGET, LONG_BINGET
            b'q' => {
                let index = self.byte()?;
                self.remember(index.into())
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)
            }
            0x94 => self.remember(self.memo.len() as u32),
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            // STACK_GLOBAL
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.text_of(module)?, self.text_of(name)?);
                self.global(&module, &name)
            }
            b'R' => self.reduce(),
            // BUILD: the attributes of an ordered dict (its versions), which say nothing about tensors
            b'b' => {
                self.pop()?;
                match self.top()? {
                    Object::Dict(_) => Ok(()),
                    _ => Err(broken("attributes on something else than a dict")),
                }
            }
            b'Q' => self.persistent(),
            _ => Err(format!(
                "its pickle has the instruction {opcode:#04x}, which no state dict needs: it is refused, \
                 save a state dict with torch.save(model.state_dict(), …)"
            )),
        }
    }

    fn count_steps(&mut self, steps: usize) -> Read<()> {
        self.steps = self.steps.saturating_add(steps);
        match self.steps > STEPS_AT_MOST {
            true => {
                Err("its pickle is too long for a state dict: save one with torch.save(model.state_dict(), …)".into())
            }
            false => Ok(()),
        }
    }

    fn take(&mut self, length: u64) -> Read<&'a [u8]> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| broken("it ends too early"))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N as u64)?.try_into().map_err(|_| broken("it ends too early"))
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Text up to the next line feed.
    fn line(&mut self) -> Read<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(1024).position(|&byte| byte == b'\n').ok_or_else(|| broken("an endless name"))?;
        let line = self.take(length as u64 + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| broken("a name that is no text"))
    }

    fn push(&mut self, value: Value) -> Read<()> {
        self.stack.push(value);
        Ok(())
    }

    fn opaque(&mut self, length: u64) -> Read<()> {
        self.take(length)?;
        self.push(Value::Opaque)
    }

    fn make(&mut self, object: Object) -> Read<()> {
        self.objects.push(object);
        self.push(Value::Object(self.objects.len() - 1))
    }

    fn text(&mut self, length: u64) -> Read<()> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| broken("a text that is no UTF-8"))?;
        self.make(Object::Text(text.into()))
    }

    /// The height below which values belong to the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Read<Value> {
        match self.stack.len() > self.floor() {
            true => self.stack.pop().ok_or_else(|| broken("an empty stack")),
            false => Err(broken("an empty stack")),
        }
    }

    fn pop_mark(&mut self) -> Read<Vec<Value>> {
        let start = self.marks.pop().ok_or_else(|| broken("no mark"))?;
        Ok(self.stack.split_off(start))
    }

    fn top(&mut self) -> Read<&mut Object> {
        match self.stack.last() {
            Some(&Value::Object(index)) => self.objects.get_mut(index).ok_or_else(|| broken("no such value")),
            _ => Err(broken("no container to fill")),
        }
    }

    fn append(&mut self, values: Vec<Value>) -> Read<()> {
        match self.top()? {
            Object::List(list) => {
                list.extend(values);
                Ok(())
            }
            _ => Err(broken("no list to append to")),
        }
    }

    fn set_items(&mut self, values: Vec<Value>) -> Read<()> {
        let (pairs, []) = values.as_chunks::<2>() else { return Err(broken("a key without a value")) };
        match self.top()? {
            Object::Dict(dict) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(broken("no dict to fill")),
        }
    }

    fn remember(&mut self, index: u32) -> Read<()> {
        let &value = self.stack.last().ok_or_else(|| broken("an empty stack"))?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Read<()> {
        let &value = self.memo.get(&index).ok_or_else(|| broken("a value that was never made"))?;
        self.push(value)
    }

    fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    fn text_of(&self, value: Value) -> Read<Rc<str>> {
        match self.object(value) {
            Some(Object::Text(text)) => Ok(text.clone()),
            _ => Err(broken("no text where one must be")),
        }
    }

    fn tuple_of(&self, value: Value) -> Read<&[Value]> {
        match self.object(value) {
            Some(Object::Tuple(values)) => Ok(values),
            _ => Err(broken("no tuple where one must be")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Read<()> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Value::Global(Global::OrderedDict),
            ("torch", "Size") => Value::Global(Global::Size),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Value::Global(Global::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Value::Global(Global::RebuildParameter),
            ("torch", _) if is_dtype(name) => Value::Opaque,
            _ => match dtype_of_storage(name).filter(|_| module == "torch") {
                Some(dtype) => Value::Global(Global::Storage(dtype)),
                None => {
                    return Err(format!(
                        "its pickle asks for `{module}.{name}`, which is neither a tensor nor a plain container: it is \
                         refused and nothing was run, save a state dict with torch.save(model.state_dict(), …)"
                    ));
                }
            },
        };
        self.push(known)
    }

    fn reduce(&mut self) -> Read<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let function = match function {
            Value::Global(function) => function,
            _ => return Err(broken("a call of something that is no function")),
        };
        match function {
            Global::OrderedDict => {
                let pairs = self.ordered_pairs(arguments)?;
                self.make(Object::Dict(pairs))
            }
            Global::Size => {
                let &[sizes] = self.tuple_of(arguments)? else { return Err(broken("a size of nothing")) };
                self.push(sizes)
            }
            Global::RebuildTensor => {
                let tensor = self.rebuilt(arguments)?;
                self.make(Object::Tensor(tensor))
            }
            Global::RebuildParameter => {
                let &[tensor, ..] = self.tuple_of(arguments)? else { return Err(broken("an empty parameter")) };
                self.push(tensor)
            }
            Global::Storage(_) => Err(broken("a storage where a function must be")),
        }
    }

    /// The arguments of `OrderedDict`: none, or one list of pairs.
    fn ordered_pairs(&mut self, arguments: Value) -> Read<Vec<(Value, Value)>> {
        let list = match self.tuple_of(arguments)? {
            [] => return Ok(Vec::new()),
            &[list] => list,
            _ => return Err(broken("an ordered dict of several things")),
        };
        let Some(Object::List(items)) = self.object(list) else { return Err(broken("an ordered dict of no list")) };
        let mut pairs = Vec::with_capacity(items.len());
        for &item in items {
            match self.object(item) {
                Some(Object::Tuple(pair) | Object::List(pair)) if pair.len() == 2 => pairs.push((pair[0], pair[1])),
                _ => return Err(broken("an ordered dict without pairs")),
            }
        }
        self.count_steps(pairs.len())?;
        Ok(pairs)
    }

    /// `(storage, offset, sizes, strides, …)` as a tensor.
    fn rebuilt(&self, arguments: Value) -> Read<Strided> {
        let &[storage, offset, sizes, strides, ..] = self.tuple_of(arguments)? else {
            return Err(broken("a tensor without shape"));
        };
        let Some(Object::Storage(storage)) = self.object(storage) else {
            return Err(broken("a tensor without storage"));
        };
        let dimensions = |value| -> Read<Vec<usize>> {
            let values = self.tuple_of(value)?;
            if values.len() > DIMENSIONS_AT_MOST {
                return Err(broken("a tensor of too many dimensions"));
            }
            values.iter().map(|&value| size(value)).collect()
        };
        Ok(Strided {
            storage: storage.clone(),
            offset: size(offset)?,
            sizes: dimensions(sizes)?,
            strides: dimensions(strides)?,
        })
    }

    /// `("storage", class, key, device, elements)`, and in older files `(view, offset, elements)` or None.
    fn persistent(&mut self) -> Read<()> {
        let id = self.pop()?;
        let &[tag, class, key, _device, length, ref view @ ..] = self.tuple_of(id)? else {
            return Err(broken("a storage without a key"));
        };
        let tag = self.text_of(tag)?;
        if &*tag != "storage" {
            return Err(format!(
                "its pickle asks for a stored `{tag}`: save a state dict with torch.save(model.state_dict(), …)"
            ));
        }
        let Value::Global(Global::Storage(dtype)) = class else { return Err(broken("a storage of no type")) };
        let offset = match view {
            [] | [Value::None] => 0,
            &[view] => match self.tuple_of(view)? {
                &[_key, offset, _length] => size(offset)?,
                _ => return Err(broken("a view of nothing")),
            },
            _ => return Err(broken("a storage of too many parts")),
        };
        let storage = StorageRef { key: self.text_of(key)?, dtype, length: size(length)?, offset };
        self.make(Object::Storage(storage))
    }
}

/// A little-endian number in two's complement; what does not fit 64 bits says nothing about tensors.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Opaque;
    }
    let negative = bytes.last().is_some_and(|&byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

fn size(value: Value) -> Read<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).map_err(|_| broken("a negative size")),
        _ => Err(broken("a size that is no number")),
    }
}

fn is_dtype(name: &str) -> bool {
    let names = ["float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"];
    names.contains(&name)
}

//! The pickle machine: protocols 0 to 5, without any calls.

use super::Read;
use super::tensor::{ElementType, StorageRef, Strided};
use super::value::{Class, Foreign, Global, Object, Pickle, Value};
use crate::weights::limits;
use std::collections::HashMap;

/// Memory charged for a value on the stack or in a container: its 16 bytes, in vectors that double.
const VALUE_BYTES: usize = 48;
/// Memory charged for an object in the arena, likewise.
const OBJECT_BYTES: usize = 96;
/// Memory charged for an entry of the memo.
const MEMO_BYTES: usize = 64;
/// Memory charged for a tensor or a placeholder, beyond its object.
const BOXED_BYTES: usize = 256;

/// Runs the pickle at the beginning of `bytes`, up to its stop.
///
/// Fails if the pickle is broken or exceeds a limit.
pub(super) fn run(bytes: &[u8]) -> Read<Pickle<'_>> {
    let mut machine = Machine { bytes, ..Machine::default() };
    for _ in 0..limits::PICKLE_STEPS {
        let opcode = machine.byte()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { root, objects: machine.objects, length: machine.at });
        }
        machine.step(opcode)?;
    }
    Err(too_large())
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Memory charged so far.
    memory: usize,
    stack: Vec<Value>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object<'a>>,
}

fn broken(what: &str) -> String {
    format!("its pickle is broken ({what}): download the file again")
}

fn too_large() -> String {
    "its pickle is too large for a state dict: save one with torch.save(model.state_dict(), …)".into()
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Read<()> {
        match opcode {
            // PROTO and FRAME
            0x80 => self.take(1).map(|_| ()),
            0x95 => self.take(8).map(|_| ()),

            b'(' => {
                self.charge(VALUE_BYTES)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            // DUP
            b'2' => {
                let value = self.last()?;
                self.push(value)
            }

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
            // LONG1, LONG4
            0x8a => {
                let length = self.byte()?;
                let number = long(self.take(length.into())?);
                self.push(number)
            }
            0x8b => {
                let length = u32::from_le_bytes(self.array()?);
                let number = long(self.take(length.into())?);
                self.push(number)
            }
            // INT, LONG, FLOAT, STRING and UNICODE as text
            b'I' => {
                let value = match self.rest_of_line()? {
                    "00" => Value::Bool(false),
                    "01" => Value::Bool(true),
                    digits => digits.parse().map_or(Value::Opaque, Value::Int),
                };
                self.push(value)
            }
            b'L' => {
                let digits = self.rest_of_line()?.trim_end_matches('L');
                self.push(digits.parse().map_or(Value::Opaque, Value::Int))
            }
            b'F' => {
                self.rest_of_line()?;
                self.push(Value::Opaque)
            }
            b'S' => {
                let text = self.rest_of_line()?;
                let quoted = text.strip_prefix(['\'', '"']).and_then(|text| text.strip_suffix(['\'', '"']));
                self.make(Object::Text(quoted.unwrap_or(text)))
            }
            b'V' => {
                let text = self.rest_of_line()?;
                self.make(Object::Text(text))
            }
            // BINFLOAT
            b'G' => self.opaque(8),

            // text: BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            // and Python 2's BINSTRING, SHORT_BINSTRING
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
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.opaque(length.into())
            }
            b'C' => {
                let length = self.byte()?;
                self.opaque(length.into())
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.array()?);
                self.opaque(length)
            }
            // NEXT_BUFFER gives bytes from outside; READONLY_BUFFER changes nothing here
            0x97 => self.push(Value::Opaque),
            0x98 => Ok(()),

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
            // EMPTY_LIST, LIST; sets are lists here: EMPTY_SET, FROZENSET
            b']' | 0x8f => self.make(Object::List(Vec::new())),
            b'l' | 0x91 => {
                let values = self.pop_mark()?;
                self.make(Object::List(values))
            }
            // APPEND, APPENDS, ADDITEMS
            b'a' => {
                let value = self.pop()?;
                self.append(vec![value])
            }
            b'e' | 0x90 => {
                let values = self.pop_mark()?;
                self.append(values)
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.make(Object::Dict(Vec::new())),
            b'd' => {
                let values = self.pop_mark()?;
                self.make(Object::Dict(Vec::new()))?;
                self.set_items(&values)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])
            }
            b'u' => {
                let values = self.pop_mark()?;
                self.set_items(&values)
            }

            // PUT, BINPUT, LONG_BINPUT, MEMOIZE; GET, BINGET, LONG_BINGET
            b'p' => {
                let index = self.rest_of_line()?.parse().map_err(|_| broken("a place that is not a number"))?;
                self.remember(index)
            }
            b'q' => {
                let index = self.byte()?;
                self.remember(index.into())
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)
            }
            0x94 => {
                let index = u32::try_from(self.memo.len()).map_err(|_| too_large())?;
                self.remember(index)
            }
            b'g' => {
                let index = self.rest_of_line()?.parse().map_err(|_| broken("a place that is not a number"))?;
                self.recall(index)
            }
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)
            }

            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.text_of(module)?, self.text_of(name)?);
                self.global(module, name)
            }
            // EXT1, EXT2, EXT4: names that only the writer's machine knows
            0x82 => {
                self.take(1)?;
                self.global("copyreg", "extension")
            }
            0x83 => {
                self.take(2)?;
                self.global("copyreg", "extension")
            }
            0x84 => {
                self.take(4)?;
                self.global("copyreg", "extension")
            }
            // REDUCE and NEWOBJ take a callable and its arguments, NEWOBJ_EX named ones too
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            0x92 => {
                let (_named, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            // INST, OBJ: objects of Python 2
            b'i' => {
                let class = Class { module: self.line()?, name: self.line()? };
                self.pop_mark()?;
                self.placeholder(class)
            }
            b'o' => {
                let values = self.pop_mark()?;
                let &class = values.first().ok_or_else(|| broken("an object without a class"))?;
                self.make(Object::Tuple(values))?;
                let arguments = self.pop()?;
                self.call(class, arguments)
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)
            }
            // PERSID, BINPERSID
            b'P' => {
                self.rest_of_line()?;
                self.push(Value::Opaque)
            }
            b'Q' => self.persistent(),
            _ => Err(broken(&format!("an unknown instruction {opcode:#04x}"))),
        }
    }

    /// Charges memory that a value will take.
    fn charge(&mut self, bytes: usize) -> Read<()> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > limits::PICKLE_MEMORY { Err(too_large()) } else { Ok(()) }
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

    /// A name up to the next line feed.
    fn line(&mut self) -> Read<&'a str> {
        let line = self.rest_of_line()?;
        if line.len() > limits::NAME_BYTES { Err(broken("an endless name")) } else { Ok(line) }
    }

    /// Text up to the next line feed.
    fn rest_of_line(&mut self) -> Read<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| broken("an endless line"))?;
        let line = self.take(length as u64 + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| broken("a line that is not text"))
    }

    fn push(&mut self, value: Value) -> Read<()> {
        self.charge(VALUE_BYTES)?;
        self.stack.push(value);
        Ok(())
    }

    fn opaque(&mut self, length: u64) -> Read<()> {
        self.take(length)?;
        self.push(Value::Opaque)
    }

    fn make(&mut self, object: Object<'a>) -> Read<()> {
        let boxed = matches!(object, Object::Storage(_) | Object::Tensor(_) | Object::Foreign(_));
        self.charge(OBJECT_BYTES + if boxed { BOXED_BYTES } else { 0 })?;
        self.objects.push(object);
        self.push(Value::Object(self.objects.len() - 1))
    }

    /// Text; bytes that are not UTF-8, which Python 2 wrote in the same way, are opaque.
    fn text(&mut self, length: u64) -> Read<()> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => self.make(Object::Text(text)),
            Err(_) => self.push(Value::Opaque),
        }
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

    fn last(&self) -> Read<Value> {
        self.stack.last().copied().ok_or_else(|| broken("an empty stack"))
    }

    fn top(&mut self) -> Read<&mut Object<'a>> {
        match self.stack.last() {
            Some(&Value::Object(index)) => self.objects.get_mut(index).ok_or_else(|| broken("no such value")),
            _ => Err(broken("no container to fill")),
        }
    }

    fn append(&mut self, values: Vec<Value>) -> Read<()> {
        self.charge(values.len().saturating_mul(VALUE_BYTES))?;
        match self.top()? {
            Object::List(list) => {
                list.extend(values);
                Ok(())
            }
            // the content of an unknown kind of list is not read
            Object::Foreign(_) => Ok(()),
            _ => Err(broken("no list to append to")),
        }
    }

    fn set_items(&mut self, values: &[Value]) -> Read<()> {
        let (pairs, []) = values.as_chunks::<2>() else { return Err(broken("a key without a value")) };
        self.charge(values.len().saturating_mul(VALUE_BYTES))?;
        let pairs = pairs.iter().map(|&[key, value]| (key, value));
        match self.top()? {
            Object::Dict(dict) => dict.extend(pairs),
            Object::Foreign(foreign) => foreign.items.extend(pairs),
            _ => return Err(broken("no dict to fill")),
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Read<()> {
        let value = self.last()?;
        self.charge(MEMO_BYTES)?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Read<()> {
        let &value = self.memo.get(&index).ok_or_else(|| broken("a value that was never made"))?;
        self.push(value)
    }

    fn object(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    fn text_of(&self, value: Value) -> Read<&'a str> {
        match self.object(value) {
            Some(Object::Text(text)) if text.len() <= limits::NAME_BYTES => Ok(text),
            Some(Object::Text(_)) => Err(broken("an endless name")),
            _ => Err(broken("no text where one must be")),
        }
    }

    fn tuple_of(&self, value: Value) -> Read<&[Value]> {
        match self.object(value) {
            Some(Object::Tuple(values)) => Ok(values),
            _ => Err(broken("no tuple where one must be")),
        }
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Read<()> {
        let known = match (module, name) {
            ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Some(Global::Dict),
            ("torch", "Size") => Some(Global::Size),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Global::RebuildTensor),
            ("torch._utils", "_rebuild_tensor_v3") => Some(Global::RebuildTypedTensor),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Global::RebuildParameter),
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Global::RebuildFromType),
            ("torch.storage" | "torch", "UntypedStorage") => Some(Global::UntypedStorage),
            ("torch", _) if name.ends_with("Storage") => Some(Global::Storage(ElementType::of_storage(name))),
            ("torch", _) => ElementType::of_name(name).map(Global::DType),
            _ => None,
        };
        match known {
            Some(known) => self.push(Value::Global(known)),
            None => self.make(Object::Class(Class { module, name })),
        }
    }

    fn placeholder(&mut self, class: Class<'a>) -> Read<()> {
        self.make(Object::Foreign(Box::new(Foreign { class, items: Vec::new(), state: Value::None })))
    }

    /// The result of a call. Only tensors and plain containers are created; anything else becomes a placeholder.
    fn call(&mut self, callable: Value, arguments: Value) -> Read<()> {
        let function = match (callable, self.object(callable)) {
            (Value::Global(function), _) => function,
            (_, Some(&Object::Class(class))) => {
                // copyreg's helpers make an object of the class that is their first argument
                let made = match (class.module, class.name, self.object(arguments)) {
                    (
                        "copyreg" | "copy_reg",
                        "__newobj__" | "_reconstructor" | "__newobj_ex__",
                        Some(Object::Tuple(values)),
                    ) => match values.first().and_then(|&first| self.object(first)) {
                        Some(&Object::Class(inner)) => inner,
                        _ => class,
                    },
                    _ => class,
                };
                return self.placeholder(made);
            }
            // calling the result of a foreign call, or a value of no class
            _ => return self.placeholder(Class { module: "unknown", name: "object" }),
        };
        match function {
            Global::Dict => {
                let pairs = self.pairs(arguments)?;
                self.make(Object::Dict(pairs))
            }
            Global::Size => match *self.tuple_of(arguments)? {
                [sizes] => self.push(sizes),
                _ => Err(broken("a size of nothing")),
            },
            Global::RebuildTensor => self.rebuild(arguments, false),
            Global::RebuildTypedTensor => self.rebuild(arguments, true),
            Global::RebuildParameter => {
                let &[tensor, ..] = self.tuple_of(arguments)? else { return Err(broken("an empty parameter")) };
                self.push(tensor)
            }
            Global::RebuildFromType => {
                // (function, type, arguments, attributes); the function is never this one
                let &[function, _class, arguments, ..] = self.tuple_of(arguments)? else {
                    return Err(broken("a tensor of no type"));
                };
                match function {
                    Value::Global(Global::RebuildTensor) => self.rebuild(arguments, false),
                    Value::Global(Global::RebuildTypedTensor) => self.rebuild(arguments, true),
                    Value::Global(_) => Err(broken("a tensor that is made by no function")),
                    _ => self.call(function, arguments),
                }
            }
            Global::Storage(_) | Global::UntypedStorage | Global::DType(_) => {
                self.placeholder(Class { module: "torch", name: "Storage" })
            }
        }
    }

    /// The arguments of a dict: none, a dict, or one list of pairs.
    fn pairs(&mut self, arguments: Value) -> Read<Vec<(Value, Value)>> {
        let source = match self.tuple_of(arguments)? {
            [] => return Ok(Vec::new()),
            &[source] => source,
            _ => return Err(broken("a dict of several things")),
        };
        // charged at once, so that making many from one is accounted for
        let length = match self.object(source) {
            Some(Object::Dict(pairs)) => pairs.len(),
            Some(Object::List(items)) => items.len(),
            _ => 0,
        };
        self.charge(length.saturating_mul(2 * VALUE_BYTES))?;
        match self.object(source) {
            Some(Object::Dict(pairs)) => Ok(pairs.clone()),
            Some(Object::List(items)) => {
                let pair = |&item: &Value| match self.object(item) {
                    Some(Object::Tuple(pair) | Object::List(pair)) if pair.len() == 2 => Ok((pair[0], pair[1])),
                    _ => Err(broken("a dict without pairs")),
                };
                items.iter().map(pair).collect()
            }
            _ => Err(broken("a dict of something else")),
        }
    }

    /// Sets attributes: kept for placeholders, ignored for the rest.
    fn build(&mut self, state: Value) -> Read<()> {
        match self.top() {
            Ok(Object::Foreign(foreign)) => foreign.state = state,
            // the versions of an ordered dict, a tensor's own attributes
            Ok(_) => {}
            Err(_) => {
                self.last()?;
            }
        }
        Ok(())
    }

    /// `(storage, offset, sizes, strides, …)` as a tensor; the typed form names the element type
    /// in its seventh place.
    fn rebuild(&mut self, arguments: Value, typed: bool) -> Read<()> {
        let arguments = self.tuple_of(arguments)?;
        let &[storage, offset, sizes, strides, ref rest @ ..] = arguments else {
            return Err(broken("a tensor without a shape"));
        };
        let storage = match self.object(storage) {
            Some(Object::Storage(storage)) => (**storage).clone(),
            // bytes that are stored elsewhere, or of an unsupported kind
            _ => return self.placeholder(Class { module: "torch", name: "Tensor" }),
        };
        let storage = match (typed, rest.get(2)) {
            (false, _) => storage,
            (true, Some(&Value::Global(Global::DType(element)))) => storage.of_type(element),
            (true, _) => return Err(broken("a tensor of no type")),
        };
        let dimensions = |value| -> Read<Vec<usize>> {
            let values = self.tuple_of(value)?;
            if values.len() > limits::DIMENSIONS {
                return Err(broken("a tensor of too many dimensions"));
            }
            values.iter().map(|&value| size(value)).collect()
        };
        let tensor =
            Strided { storage, offset: size(offset)?, sizes: dimensions(sizes)?, strides: dimensions(strides)? };
        self.make(Object::Tensor(Box::new(tensor)))
    }

    /// `("storage", class, key, device, elements)`, and in older files `(view, offset, elements)` or
    /// None; anything else that is stored elsewhere becomes a placeholder or its class.
    fn persistent(&mut self) -> Read<()> {
        let id = self.pop()?;
        let Some(Object::Tuple(parts)) = self.object(id) else { return self.push(Value::Opaque) };
        let &[tag, class, ref rest @ ..] = parts.as_slice() else { return self.push(Value::Opaque) };
        match self.text_of(tag)? {
            "storage" => {}
            // a class with its source text, which older versions store with whole modules
            "module" => return self.push(class),
            _ => return self.push(Value::Opaque),
        }
        let &[key, _device, length, ref view @ ..] = rest else { return Err(broken("a storage without a key")) };
        let element = match class {
            Value::Global(Global::Storage(element)) => element,
            Value::Global(Global::UntypedStorage) => ElementType::BYTES,
            _ => return Err(broken("a storage of no type")),
        };
        let offset = match view {
            [] | [Value::None] => 0,
            &[view] => match self.tuple_of(view)? {
                &[_key, offset, _length] => size(offset)?,
                _ => return Err(broken("a view of nothing")),
            },
            _ => return Err(broken("a storage of too many parts")),
        };
        let storage = StorageRef { key: self.text_of(key)?, element, length: size(length)?, offset };
        self.make(Object::Storage(Box::new(storage)))
    }
}

/// A little-endian number in two's complement; numbers of more than 64 bits are never sizes.
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
        _ => Err(broken("a size that is not a number")),
    }
}

//! Floats as integers with scales, and back.
use sage_engine::{Granularity, Quantization, TensorView, TensorViewMut};

use crate::case::{Case, Tensor};
use crate::text::{digest_of, number, Transcript};

fn view(tensor: &Tensor) -> TensorView<'_> {
    let bytes = tensor.room.bytes();
    match &tensor.strides {
        Some(strides) => TensorView::strided_bytes(tensor.dtype, bytes, &tensor.shape, strides, 0),
        None => TensorView::from_bytes(tensor.dtype, bytes, &tensor.shape),
    }
    .expect("memory that holds the shape")
}

fn view_mut(tensor: &mut Tensor) -> TensorViewMut<'_> {
    TensorViewMut::from_bytes(tensor.dtype, tensor.room.bytes_mut(), &tensor.shape).expect("memory of the shape's size")
}

fn granularity(code: &str) -> Granularity {
    let all = [Granularity::Tensor, Granularity::Head, Granularity::Token, Granularity::Channel, Granularity::Block];
    all.into_iter().find(|one| *one as u32 == number::<u32>(code)).expect("a granularity")
}

fn quantization<'a>(code: &str, block: &str, starts: Option<TensorView<'a>>) -> Quantization<'a> {
    let made = match granularity(code) {
        Granularity::Block => Quantization::blocks(number(block)),
        other => Quantization::new(other),
    };
    match starts {
        Some(starts) => made.cu_seqlens(starts),
        None => made,
    }
}

impl Case<'_> {
    pub fn quantize_step(&mut self, step: &str, words: &[&str], out: &mut Transcript) -> bool {
        match step {
            "quantize" => self.quantize(words, out),
            "dequantize" => self.dequantize(words, out),
            _ => return false,
        }
        true
    }

    /// Out of the case, so that some may be written while others are read; None for "-".
    fn lend(&mut self, word: &str) -> Option<Tensor> {
        (word != "-").then(|| self.tensors.remove(&number(word)).expect("a tensor of the case"))
    }
    fn take_back(&mut self, word: &str, tensor: Option<Tensor>) {
        if let Some(tensor) = tensor {
            self.tensors.insert(number(word), tensor);
        }
    }
    fn say_slot(&self, out: &mut Transcript, word: &str) {
        if word != "-" {
            let tensor = &self.tensors[&number(word)];
            self.say(out, &format!("slot {word} {}", digest_of(tensor.room.bytes())));
        }
    }

    fn quantize(&mut self, words: &[&str], out: &mut Transcript) {
        let mut lent: Vec<Option<Tensor>> = words[..5].iter().map(|word| self.lend(word)).collect();
        let given = words[7] == "1";
        let made = match &mut lent[..] {
            [Some(x), Some(codes), Some(scale), mean, starts] => {
                let by = quantization(words[5], words[6], starts.as_ref().map(view));
                let mean = mean.as_mut().map(view_mut);
                if given {
                    by.quantize_with(view(x), view_mut(codes), view(scale), mean)
                } else {
                    by.quantize(view(x), view_mut(codes), view_mut(scale), mean)
                }
            }
            _ => panic!("quantize: X, CODES and SCALE are needed"),
        };
        for (word, tensor) in words.iter().zip(lent) {
            self.take_back(word, tensor);
        }
        if let Some(r) = self.accepted(out, made) {
            self.say(out, "SAGE_OK");
            let counts = [r.elements, r.saturated, r.zero_groups, r.code_bytes, r.scale_bytes];
            let counts = counts.map(|count| count.to_string()).join(" ");
            let (most, rms) = (r.max_abs_error.to_bits(), r.rms_error.to_bits());
            self.say(out, &format!("report {counts} {most:016x} {rms:016x}"));
            self.say_slot(out, words[1]);
            if !given {
                self.say_slot(out, words[2]);
            }
            self.say_slot(out, words[3]);
        }
    }

    fn dequantize(&mut self, words: &[&str], out: &mut Transcript) {
        let mut lent: Vec<Option<Tensor>> = words[..5].iter().map(|word| self.lend(word)).collect();
        let made = match &mut lent[..] {
            [Some(codes), Some(scale), mean, starts, Some(x)] => {
                let by = quantization(words[5], words[6], starts.as_ref().map(view));
                by.dequantize(view(codes), view(scale), mean.as_ref().map(view), view_mut(x))
            }
            _ => panic!("dequantize: CODES, SCALE and X are needed"),
        };
        for (word, tensor) in words.iter().zip(lent) {
            self.take_back(word, tensor);
        }
        if self.accepted(out, made).is_some() {
            self.say(out, "SAGE_OK");
            self.say_slot(out, words[4]);
        }
    }
}

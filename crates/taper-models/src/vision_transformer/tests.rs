use super::*;
use crate::test_support::{features, images, largest, noisy_state};
use crate::{Frozen, Leaves, State, Upper};
use VisionTransformerKind::*;
use candle_core::{DType, Device};
use std::sync::Arc;
use taper_ops::{in_pool, rng, uniform};

/// A network, and numbers that keep activations alive: no zero tokens.
fn network(kind: VisionTransformerKind, side: usize) -> (VisionTransformer, State) {
    let network = VisionTransformer::new(kind, (3, side, side)).unwrap();
    let state = noisy_state(&network);
    (network, state)
}

#[cfg(feature = "vision-networks")]
mod candles {
    use super::*;
    use candle_core::{IndexOp, Module, Shape};
    use candle_nn::var_builder::SimpleBackend;
    use candle_nn::{Init, VarBuilder};
    use candle_transformers::models::clip::vision_model::{ClipVisionConfig, ClipVisionTransformer};
    use candle_transformers::models::dinov2::DinoVisionTransformer;
    use candle_transformers::models::vit;

    /// The tensors as they are, since candle always asks for DINOv2's positions at 518 pixels; and the identity as a
    /// head.
    struct AsTheyAre(Params);

    impl SimpleBackend for AsTheyAre {
        fn get(&self, shape: Shape, name: &str, _: Init, _: DType, _: &Device) -> candle_core::Result<Tensor> {
            match (shape.dims(), name) {
                (&[outputs, inputs], "head.weight" | "classifier.weight") => {
                    let rows: Vec<f32> =
                        (0..outputs * inputs).map(|at| if at / inputs == at % inputs { 1.0 } else { 0.0 }).collect();
                    Tensor::from_vec(rows, (outputs, inputs), &Device::Cpu)
                }
                (_, "head.bias" | "classifier.bias") => Tensor::zeros(shape, DType::F32, &Device::Cpu),
                _ => self.get_unchecked(name, DType::F32, &Device::Cpu),
            }
        }

        fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
            self.0.get(name).cloned().map_err(candle_core::Error::wrap)
        }

        fn contains_tensor(&self, name: &str) -> bool {
            self.0.get(name).is_ok()
        }
    }

    /// The features that candle-transformers computes.
    fn theirs(kind: VisionTransformerKind, side: usize, params: &Params, images: &Tensor) -> Tensor {
        let vb = VarBuilder::from_backend(Box::new(AsTheyAre(params.clone())), DType::F32, Device::Cpu);
        let dino = |width, heads| {
            let network = DinoVisionTransformer::new(vb.clone(), 12, width, heads).unwrap();
            // it takes one image at a time
            let each = (0..images.dim(0).unwrap()).map(|at| network.forward(&images.i(at..at + 1).unwrap()).unwrap());
            Tensor::cat(&each.collect::<Vec<_>>(), 0).unwrap().narrow(1, 0, width).unwrap()
        };
        match kind {
            DinoV2Small => dino(384, 6),
            DinoV2Base => dino(768, 12),
            VitBase => {
                let config = vit::Config { image_size: side, ..vit::Config::vit_base_patch16_224() };
                vit::Model::new(&config, 768, vb).unwrap().forward(images).unwrap()
            }
            ClipVitB32 => {
                let config = ClipVisionConfig { image_size: side, ..ClipVisionConfig::vit_base_patch32() };
                let tower = ClipVisionTransformer::new(vb.pp("vision_model"), &config).unwrap();
                let projection = candle_nn::linear_no_bias(768, 512, vb.pp("visual_projection")).unwrap();
                projection.forward(&tower.forward(images).unwrap()).unwrap()
            }
        }
    }

    /// DINOv2's features by candle's ViT, with LayerScale's factors in the weights: candle's DINOv2 approximates GELU by
    /// the hyperbolic tangent, which DINOv2 does not.
    fn by_candles_vit(kind: VisionTransformerKind, side: usize, params: &Params, images: &Tensor) -> Tensor {
        let sizes = kind.sizes();
        let (d, mut renamed) = (sizes.width, Vec::new());
        for (name, tensor) in params.iter() {
            let scaled = |scale: &str| {
                let block: Vec<&str> = name.split('.').take(2).collect();
                let scale = params.get(&format!("{}.{scale}.gamma", block.join("."))).unwrap();
                let shape = if tensor.rank() == 2 { (d, 1) } else { (1, d) };
                tensor.broadcast_mul(&scale.reshape(shape).unwrap()).unwrap().reshape(tensor.shape()).unwrap()
            };
            let inside = name.strip_prefix("blocks.").map(|rest| format!("vit.encoder.layer.{rest}"));
            let name = inside.unwrap_or_else(|| name.to_string());
            let named = |from: &str, to: &str, tensor: Tensor| (name.replace(from, to), tensor);
            renamed.extend(match name.as_str() {
                "cls_token" => vec![("vit.embeddings.cls_token".into(), tensor.clone())],
                "pos_embed" => vec![("vit.embeddings.position_embeddings".into(), tensor.clone())],
                name if name.starts_with("patch_embed") => {
                    vec![named("patch_embed.proj", "vit.embeddings.patch_embeddings.projection", tensor.clone())]
                }
                name if name.starts_with("norm.") => vec![named("norm.", "vit.layernorm.", tensor.clone())],
                name if name.contains(".attn.qkv.") => ["query", "key", "value"]
                    .iter()
                    .enumerate()
                    .map(|(place, part)| {
                        let part = format!(".attention.attention.{part}.");
                        named(".attn.qkv.", &part, tensor.narrow(0, place * d, d).unwrap())
                    })
                    .collect(),
                name if name.contains(".attn.proj.") => {
                    vec![named(".attn.proj.", ".attention.output.dense.", scaled("ls1"))]
                }
                name if name.contains(".fc2.") => vec![named(".mlp.fc2.", ".output.dense.", scaled("ls2"))],
                name if name.contains(".fc1.") => vec![named(".mlp.fc1.", ".intermediate.dense.", tensor.clone())],
                name if name.contains(".norm1.") => vec![named(".norm1.", ".layernorm_before.", tensor.clone())],
                name if name.contains(".norm2.") => vec![named(".norm2.", ".layernorm_after.", tensor.clone())],
                _ => Vec::new(),
            });
        }
        let config = vit::Config {
            hidden_size: d,
            num_attention_heads: sizes.heads,
            intermediate_size: 4 * d,
            layer_norm_eps: sizes.eps,
            image_size: side,
            patch_size: sizes.patch,
            ..vit::Config::vit_base_patch16_224()
        };
        let vb = VarBuilder::from_backend(Box::new(AsTheyAre(renamed.into_iter().collect())), DType::F32, Device::Cpu);
        vit::Model::new(&config, d, vb).unwrap().forward(images).unwrap()
    }

    fn assert_candles(kind: VisionTransformerKind, side: usize) {
        let (network, state) = network(kind, side);
        let images = images(2, side);
        let mut theirs = theirs(kind, side, &state.params, &images);
        if matches!(kind, DinoV2Small | DinoV2Base) {
            let ours = features(&network, &state, &images);
            let error = largest(&(ours - &theirs).unwrap()) / largest(&theirs);
            assert!(error < 2e-3, "{}: relative error {error}", kind.name());
            theirs = by_candles_vit(kind, side, &state.params, &images);
        }
        let frozen = Frozen::new(Arc::new(network), state.clone()).features(&images).unwrap();
        for (way, ours) in [("with gradients", features(&network, &state, &images)), ("frozen", frozen)] {
            assert_eq!(ours.dims(), theirs.dims());
            let error = largest(&(ours - &theirs).unwrap()) / largest(&theirs);
            assert!(largest(&theirs) > 1e-3 && error < 1e-5, "{} {way}: relative error {error}", kind.name());
        }
    }

    #[test]
    fn features_of_dinov2_equal_candles() {
        assert_candles(DinoV2Small, 224);
        assert_candles(DinoV2Base, 42);
    }

    #[test]
    fn features_of_vit_base_equal_candles() {
        assert_candles(VitBase, 224);
    }

    #[test]
    fn features_of_clip_equal_candles() {
        assert_candles(ClipVitB32, 224);
    }
}

#[test]
fn an_image_has_the_same_features_to_the_last_bit_in_a_batch_of_any_size_on_any_number_of_threads() {
    for (kind, side) in [(DinoV2Small, 56), (ClipVitB32, 64)] {
        let (network, state) = network(kind, side);
        let all = images(5, side);
        let run = |threads, images: &Tensor| {
            let frozen = Frozen::new(Arc::new(network), state.clone());
            in_pool(threads, || frozen.features(images).unwrap().to_vec2::<f32>().unwrap()).unwrap()
        };
        let together = run(1, &all);
        for (threads, first, count) in [(2, 0, 5), (3, 0, 1), (8, 4, 1), (2, 1, 3)] {
            let part = run(threads, &all.narrow(0, first, count).unwrap());
            assert!(part == together[first..first + count], "{}: {count} from image {first}", kind.name());
        }
    }
}

#[test]
fn a_network_in_parts_makes_the_features_of_the_whole() {
    let (network, state) = network(DinoV2Small, 28);
    let images = images(2, 28);
    let rows = |features: Tensor| features.to_vec2::<f32>().unwrap();
    let expected = rows(features(&network, &state, &images));
    let whole: Arc<dyn Backbone> = Arc::new(network);
    assert_eq!(network.split_points().len(), 12);
    for stage in ["blocks.0", "blocks.1", "blocks.11"] {
        let upper = Upper::new(whole.clone(), stage).unwrap();
        let mode = &mut Mode::evaluate();
        let below = whole.forward_to(&state.params, &state.buffers, &images, mode, stage).unwrap();
        assert_eq!(below.dims(), [2, 5, 1, 384]);
        let params = state.params.filter(|name| upper.holds(name));
        assert_eq!(upper.param_specs().len(), params.len());
        assert_eq!(rows(upper.features(&params, &state.buffers, &below, mode).unwrap().features), expected, "{stage}");
        let higher = upper.forward_to(&state.params, &state.buffers, &below, mode, "blocks.11");
        if stage != "blocks.11" {
            let direct = whole.forward_to(&state.params, &state.buffers, &images, mode, "blocks.11").unwrap();
            assert_eq!(largest(&(higher.unwrap() - direct).unwrap()), 0.0);
        }
        assert!(!upper.takes_any_size() && upper.norms().contains(&"norm".to_string()));
    }
    let upper = Upper::new(whole.clone(), "blocks.11").unwrap();
    assert_eq!(upper.norms(), ["blocks.11.norm1", "blocks.11.norm2", "norm"]);
    assert!(Upper::new(whole, "blocks.12").err().unwrap().to_string().contains("can't be split at `blocks.12`"));
}

#[test]
fn every_parameter_belongs_to_a_stage_and_norms_are_parameters() {
    for kind in VisionTransformerKind::ALL {
        let network = VisionTransformer::new(kind, (3, 224, 224)).unwrap();
        let (specs, stages) = (network.param_specs(), network.stages());
        let under = |name: &str, start: &str| {
            name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        for spec in &specs {
            assert!(stages.iter().any(|stage| under(&spec.name, stage)), "{}", spec.name);
        }
        for norm in network.norms() {
            assert_eq!(specs.iter().filter(|spec| under(&spec.name, &norm)).count(), 2, "{norm}");
        }
        assert!(network.split_points().iter().all(|cut| stages.contains(cut)));
    }
}

/// Along a direction, the slope of the features' weighted sum equals its difference quotient.
#[test]
fn every_parameter_has_the_gradient_of_small_changes() {
    for (kind, side) in [(DinoV2Small, 28), (ClipVitB32, 32)] {
        let (network, state) = network(kind, side);
        let state = state.to_dtype(DType::F64).unwrap();
        let images = images(1, side).to_dtype(DType::F64).unwrap();
        let weights = uniform(&mut rng(3, "weights", 0), (1, network.width()), -1.0, 1.0).unwrap();
        let weights = weights.to_dtype(DType::F64).unwrap();
        let value = |params: &Params| {
            let features = network.features(params, &state.buffers, &images, &mut Mode::evaluate()).unwrap().features;
            features.mul(&weights).unwrap().sum_all().unwrap()
        };
        let leaves = Leaves::new(&state.params).unwrap();
        let slopes = leaves.gradient(&value(&leaves.params())).unwrap();
        let direction = |name: &str, tensor: &Tensor| {
            uniform(&mut rng(4, name, 0), tensor.shape().clone(), -1.0, 1.0).unwrap().to_dtype(DType::F64).unwrap()
        };
        let directions: Params = state.params.iter().map(|(name, t)| (name.to_string(), direction(name, t))).collect();
        let moved = |by: f64| value(&state.params.plus(by, &directions).unwrap()).to_scalar::<f64>().unwrap();
        let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        let (mut slope, mut scale) = (0.0, 0.0);
        for (name, gradient) in slopes.iter() {
            let terms = gradient.mul(directions.get(name).unwrap()).unwrap();
            assert!(
                gradient.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap() > 0.0 || name.contains("key"),
                "{name}"
            );
            slope += terms.sum_all().unwrap().to_scalar::<f64>().unwrap();
            scale += terms.abs().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        }
        assert_eq!(slopes.len(), state.params.len());
        assert!((slope - expected).abs() < 1e-6 * scale, "{}: {slope} for {expected} of {scale}", kind.name());
    }
}

/// Gradients in f32, through the kernels, against those in f64, of norms alone and of the last block.
#[test]
fn gradients_of_kernels_equal_those_in_f64_for_norms_and_for_the_last_blocks() {
    let (network, state) = network(DinoV2Small, 56);
    let images = images(3, 56);
    let norms = network.norms();
    let of_norms = |name: &str| {
        norms.iter().any(|norm| name.strip_prefix(norm.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let last = |name: &str| name.starts_with("blocks.11.") || name.starts_with("norm.");
    for trained in [&of_norms as &dyn Fn(&str) -> bool, &last] {
        let gradient = |dtype: DType| {
            let state = state.to_dtype(dtype).unwrap();
            let leaves = Leaves::new(&state.params.filter(trained)).unwrap();
            let params = state.params.merged(&leaves.params());
            let images = images.to_dtype(dtype).unwrap();
            let mode = &mut Mode::train(rng(0, "dropout", 0));
            let features = network.features(&params, &state.buffers, &images, mode).unwrap().features;
            leaves.gradient(&features.sqr().unwrap().sum_all().unwrap()).unwrap().to_dtype(DType::F64).unwrap()
        };
        let (ours, right) = (gradient(DType::F32), gradient(DType::F64));
        assert!(!right.is_empty());
        let scale = right.norm().unwrap();
        for (name, right) in right.iter() {
            let error = (ours.get(name).unwrap() - right).unwrap().sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
            let error = error.to_scalar::<f64>().unwrap() / scale;
            assert!(error < 1e-5, "{name}: relative error {error}");
        }
    }
}

#[test]
fn images_and_activations_of_other_sizes_are_errors_that_name_them() {
    for (kind, input) in
        [(VitBase, (3, 250, 250)), (DinoV2Small, (3, 224, 210)), (ClipVitB32, (1, 64, 64)), (VitBase, (3, 0, 0))]
    {
        let error = VisionTransformer::new(kind, input).unwrap_err();
        assert!(matches!(error, ModelError::ImageSize { side: 224, .. }), "{error}");
        assert!(error.to_string().contains(&format!("{}x{}", input.1, input.2)), "{error}");
    }
    let (network, state) = network(DinoV2Small, 28);
    let run = |images: &Tensor| network.features(&state.params, &state.buffers, images, &mut Mode::evaluate());
    let error = run(&images(1, 42)).unwrap_err().to_string();
    assert!(error.contains("(n, 3, 28, 28)") && error.contains("42"), "{error}");
    let tokens = Tensor::zeros((1, 4, 1, 384), DType::F32, &Device::Cpu).unwrap();
    let error = network.forward_from(&state.params, &state.buffers, &tokens, &mut Mode::evaluate(), "blocks.3");
    assert!(error.unwrap_err().to_string().contains("(n, 5, 1, 384)"));
}

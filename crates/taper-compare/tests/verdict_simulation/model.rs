//! Comparisons of known truth: two methods, training runs, classes, images and tasks, drawn from a
//! logistic model with random effects.

use rand::Rng as _;
use std::collections::BTreeMap;
use taper_learn::statistics::{Decision, ScoredTask};
use taper_ops::{Rng, rng};

/// How much the world varies, and what is measured of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) classes: usize,
    pub(crate) ways: usize,
    pub(crate) images: usize,
    pub(crate) shots: usize,
    pub(crate) queries: usize,
    pub(crate) tasks: usize,
    pub(crate) runs: usize,
    /// What method A has over method B, in logits.
    pub(crate) advantage: f64,
    pub(crate) effects: Effects,
}

/// Standard deviations of random effects, in logits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effects {
    /// Of a class, alike for both methods, and apart.
    pub(crate) class: (f64, f64),
    /// Of a pair of classes that are confused with each other, in both directions.
    pub(crate) pair: (f64, f64),
    /// Of a query image.
    pub(crate) image: (f64, f64),
    /// Of a support image.
    pub(crate) support: (f64, f64),
    /// Of a training run on all tasks, and on each class.
    pub(crate) run: (f64, f64),
}

impl Effects {
    pub(crate) const MIDDLE: Self =
        Self { class: (0.8, 0.4), pair: (0.6, 0.3), image: (1.0, 0.5), support: (0.6, 0.3), run: (0.15, 0.2) };
    /// Little but the images differs.
    pub(crate) const SMALL: Self =
        Self { class: (0.4, 0.15), pair: (0.3, 0.1), image: (1.0, 0.5), support: (0.4, 0.2), run: (0.05, 0.1) };
    /// Classes and runs differ a lot.
    pub(crate) const LARGE: Self =
        Self { class: (1.2, 0.8), pair: (0.8, 0.5), image: (1.0, 0.5), support: (0.6, 0.3), run: (0.3, 0.3) };
}

/// What a class is without a competitor, in logits: about 75% of five ways.
const OWN: f64 = 3.0;

fn normal(rng: &mut Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Effects shared by both methods plus each method's own.
fn both(rng: &mut Rng, (shared, own): (f64, f64)) -> [f64; 2] {
    let common = shared * normal(rng);
    [common + own * normal(rng), common + own * normal(rng)]
}

/// A drawn world: classes, pairs, images and runs, for methods A and B.
pub(crate) struct Drawn {
    world: World,
    class: Vec<[f64; 2]>,
    pair: BTreeMap<(usize, usize), [f64; 2]>,
    image: Vec<[f64; 2]>,
    support: Vec<[f64; 2]>,
    run: Vec<[f64; 2]>,
    run_class: Vec<[f64; 2]>,
}

impl World {
    pub(crate) fn draw(&self, rng: &mut Rng) -> Drawn {
        let effects = &self.effects;
        let mut pair = BTreeMap::new();
        for a in 0..self.classes {
            for b in a + 1..self.classes {
                pair.insert((a, b), both(rng, effects.pair));
            }
        }
        let mut many = |count: usize, spread| (0..count).map(|_| both(rng, spread)).collect::<Vec<_>>();
        Drawn {
            world: *self,
            class: many(self.classes, effects.class),
            image: many(self.classes * self.images, effects.image),
            support: many(self.classes * self.images, effects.support),
            run: many(self.runs, (0.0, effects.run.0)),
            run_class: many(self.runs * self.classes, (0.0, effects.run.1)),
            pair,
        }
    }

    /// Accuracy on new classes of a method whose logits are `shift` higher than method B's: (shift,
    /// accuracy), from many single queries.
    pub(crate) fn accuracies(&self, seed: u64, draws: u64) -> Vec<(f64, f64)> {
        let shifts: Vec<f64> = (-30..=40).map(|step| f64::from(step) * 0.1).collect();
        let mut sums = vec![0.0; shifts.len()];
        let single = World { classes: self.ways, images: self.shots + 1, runs: 1, ..*self };
        for draw in 0..draws {
            let rng = &mut rng(seed, "truth", draw);
            let drawn = single.draw(rng);
            let support: Vec<Vec<usize>> = (0..self.ways).map(|class| drawn.range(class).skip(1).collect()).collect();
            let classes: Vec<usize> = (0..self.ways).collect();
            let image = drawn.range(0).next().unwrap_or(0);
            let (own, others) = drawn.scores(1, 0, &classes, &support, 0, image);
            // the run's effect on all tasks is what a truth of given runs conditions on
            let own = own - drawn.run[0][1];
            let total: f64 = others.iter().map(|other| other.exp()).sum();
            for (sum, shift) in sums.iter_mut().zip(&shifts) {
                *sum += 1.0 / (1.0 + total * (-own - shift).exp());
            }
        }
        shifts.into_iter().zip(sums).map(|(shift, sum)| (shift, sum / draws as f64)).collect()
    }
}

/// Value at `x` of a curve of evenly spaced points.
fn at(curve: &[(f64, f64)], x: f64) -> f64 {
    let place = ((x - curve[0].0) / (curve[1].0 - curve[0].0)).clamp(0.0, curve.len() as f64 - 1.001);
    let (index, rest) = (place as usize, place.fract());
    curve[index].1 * (1.0 - rest) + curve[index + 1].1 * rest
}

impl Drawn {
    fn range(&self, class: usize) -> std::ops::Range<usize> {
        class * self.world.images..(class + 1) * self.world.images
    }

    /// Logits of the query's class and of each other class of the task.
    fn scores(
        &self,
        method: usize,
        run: usize,
        classes: &[usize],
        support: &[Vec<usize>],
        label: usize,
        image: usize,
    ) -> (f64, Vec<f64>) {
        let known = |label: usize| {
            support[label].iter().map(|&image| self.support[image][method]).sum::<f64>() / support[label].len() as f64
                + self.run_class[run * self.world.classes + classes[label]][method]
        };
        let class = classes[label];
        let advantage = if method == 0 { self.world.advantage } else { 0.0 };
        let own = OWN + advantage + self.class[class][method] + self.image[image][method] + self.run[run][method];
        let other = |other: usize| {
            let pair = (class.min(classes[other]), class.max(classes[other]));
            self.pair[&pair][method] - 0.5 * self.class[classes[other]][method] + 0.5 * known(other)
        };
        (own + known(label), (0..classes.len()).filter(|&one| one != label).map(other).collect())
    }

    /// Both methods' answers in each run to the same tasks.
    pub(crate) fn answers(&self, rng: &mut Rng) -> [Vec<Vec<ScoredTask>>; 2] {
        let world = &self.world;
        let mut answers = [vec![Vec::new(); world.runs], vec![Vec::new(); world.runs]];
        for _ in 0..world.tasks {
            let classes = choose(rng, (0..world.classes).collect(), world.ways);
            let drawn: Vec<Vec<usize>> = classes
                .iter()
                .map(|&class| choose(rng, self.range(class).collect(), world.shots + world.queries))
                .collect();
            let support: Vec<Vec<usize>> = drawn.iter().map(|images| images[..world.shots].to_vec()).collect();
            for (method, answers) in answers.iter_mut().enumerate() {
                for (run, answers) in answers.iter_mut().enumerate() {
                    let mut decisions = Vec::new();
                    for (label, images) in drawn.iter().enumerate() {
                        for &image in &images[world.shots..] {
                            let (own, others) = self.scores(method, run, &classes, &support, label, image);
                            let mut left =
                                rng.random::<f64>() * (own.exp() + others.iter().map(|o| o.exp()).sum::<f64>());
                            left -= own.exp();
                            let mut predicted = classes[label];
                            for (score, &other) in
                                others.iter().zip(classes.iter().filter(|&&other| other != classes[label]))
                            {
                                if left < 0.0 {
                                    break;
                                }
                                left -= score.exp();
                                predicted = other;
                            }
                            let class = classes[label] as u32;
                            decisions.push(Decision { image, class, predicted: Some(predicted as u32) });
                        }
                    }
                    let classes = classes.iter().map(|&class| class as u32).collect();
                    let support_images = world.ways * world.shots;
                    answers.push(ScoredTask { classes, support_images, pool_images: None, decisions });
                }
            }
        }
        answers
    }

    /// The true difference of A and B on new classes: over new runs, or of the one run.
    pub(crate) fn truth_of_new_classes(&self, accuracies: &[(f64, f64)]) -> f64 {
        let advantage = self.world.advantage;
        if self.world.runs == 1 {
            return at(accuracies, advantage + self.run[0][0]) - at(accuracies, self.run[0][1]);
        }
        // the mean over runs by the middle of 101 quantiles
        let over_runs = |shift: f64| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for step in -40..=40 {
                let z = f64::from(step) * 0.1;
                let density = (-z * z / 2.0).exp();
                sum += density * at(accuracies, shift + self.world.effects.run.0 * z);
                weight += density;
            }
            sum / weight
        };
        over_runs(advantage) - over_runs(0.0)
    }

    /// The true difference of A and B on new images of the same classes, all of them in every task; over
    /// new runs, or of the one run.
    pub(crate) fn truth_of_these_classes(&self, seed: u64, draws: u64) -> f64 {
        let world = World { images: self.world.shots + 1, runs: 1, ..self.world };
        let classes: Vec<usize> = (0..world.classes).collect();
        let mut sum = 0.0;
        for draw in 0..draws {
            let rng = &mut rng(seed, "images", draw);
            let mut many = |spread| (0..world.classes * world.images).map(|_| both(rng, spread)).collect::<Vec<_>>();
            let (image, support) = (many(world.effects.image), many(world.effects.support));
            let (run, run_class) = match self.world.runs {
                1 => (self.run.clone(), self.run_class.clone()),
                _ => {
                    let mut many = |count, spread| (0..count).map(|_| both(rng, (0.0, spread))).collect::<Vec<_>>();
                    (many(1, world.effects.run.0), many(world.classes, world.effects.run.1))
                }
            };
            let drawn =
                Self { world, class: self.class.clone(), pair: self.pair.clone(), image, support, run, run_class };
            let support: Vec<Vec<usize>> = classes.iter().map(|&class| drawn.range(class).skip(1).collect()).collect();
            for &class in &classes {
                let image = drawn.range(class).next().unwrap_or(0);
                for (method, sign) in [(0, 1.0), (1, -1.0)] {
                    let (own, others) = drawn.scores(method, 0, &classes, &support, class, image);
                    let total: f64 = others.iter().map(|other| other.exp()).sum();
                    sum += sign / (1.0 + total * (-own).exp());
                }
            }
        }
        sum / (draws as f64 * world.classes as f64)
    }
}

/// `count` of `items`, in random order.
fn choose(rng: &mut Rng, mut items: Vec<usize>, count: usize) -> Vec<usize> {
    for place in 0..count {
        let other = rng.random_range(place..items.len());
        items.swap(place, other);
    }
    items.truncate(count);
    items
}

//! Facts about a method that do not depend on its settings.

use crate::TaskNorm;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a method has learned from before a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing, and it does not learn either: the floor that every learner has to beat.
    Floor,
    /// Nothing but the task itself.
    Scratch,
    /// Other classes, in ordinary training: one network for all of them.
    Transfer,
    /// Tasks like those that it will get.
    Meta,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Floor => "floor",
            Self::Scratch => "scratch",
            Self::Transfer => "transfer",
            Self::Meta => "meta",
        })
    }
}

/// The training that a method needs before a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Training {
    /// None: it starts from an untrained network, or needs no network.
    Nothing,
    /// An ordinary classifier of all training classes.
    Pretraining,
    /// One shared head over fixed tasks.
    SharedTasks,
    /// Training on tasks with the method's own objective.
    Episodes {
        /// Whether it starts from an ordinary classifier of all training classes.
        pretrained: bool,
    },
}

/// Facts about a method that do not depend on its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodInfo {
    /// Its name in plans and model directories (`"protonet"`).
    pub name: &'static str,
    /// Its name in tables (`"ProtoNet"`).
    pub title: &'static str,
    /// What it has learned from before it meets a task.
    pub kind: Kind,
    /// Its source: authors and year.
    pub paper: &'static str,
    /// `true` if it classifies all queries of a task together, whatever the norm.
    pub transductive: bool,
    /// Whose statistics normalize its tasks by default.
    pub norm: TaskNorm,
    /// The training that it needs.
    pub training: Training,
}

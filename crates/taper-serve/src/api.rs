//! What pages ask for. A path in a request is never the path of a file: pictures and classes go by ids.

use crate::assets::{PAGE, asset};
use crate::gallery::Kind;
use crate::guard::{Answer, Guard, HEADERS};
use crate::limits::{
    BODY_TIME, CHANGES_AT_ONCE, CHANGES_PER_SECOND, DRAWING, NEWS_TIME, PHOTOGRAPH, RECEIVED_AT_ONCE, WORDS,
};
use crate::problem::{Problem, Result};
use crate::rate::Rate;
use crate::studio::Studio;
use crate::worker::Worker;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// What all requests share.
pub(crate) struct Shared {
    guard: Guard,
    worker: Worker,
    version: watch::Receiver<u64>,
    changes: Rate,
    receiving: Semaphore,
    /// Of classifiers that are saved at once.
    saving: Arc<Semaphore>,
    threads: usize,
}

impl Shared {
    pub(crate) fn new(guard: Guard, worker: Worker, version: watch::Receiver<u64>, threads: usize) -> Self {
        let changes = Rate::new(CHANGES_PER_SECOND, CHANGES_AT_ONCE);
        Self {
            guard,
            worker,
            version,
            changes,
            receiving: Semaphore::new(RECEIVED_AT_ONCE),
            saving: Arc::new(Semaphore::new(1)),
            threads,
        }
    }
}

type All = State<Arc<Shared>>;

/// Everything that is answered.
pub(crate) fn router(shared: Shared) -> Router {
    let shared = Arc::new(shared);
    Router::new()
        .route("/", get(page))
        .route("/assets/{name}", get(file))
        .route("/api/state", get(state))
        .route("/api/classes", post(add_class))
        .route("/api/classes/{class}/rename", post(rename_class))
        .route("/api/classes/{class}/remove", post(remove_class))
        .route("/api/classes/{class}/drawings", post(add_drawing))
        .route("/api/classes/{class}/photographs", post(add_photograph))
        .route("/api/examples/{example}", get(thumbnail))
        .route("/api/examples/{example}/remove", post(remove_example))
        .route("/api/undo", post(undo))
        .route("/api/classify/drawing", post(classify_drawing))
        .route("/api/classify/photograph", post(classify_photograph))
        .route("/api/save", post(save))
        .layer(from_fn_with_state(shared.clone(), guarded))
        .with_state(shared)
}

/// Answers only who may ask, and tells the browser what a page of ours may do.
async fn guarded(State(shared): All, request: Request, next: Next) -> Response {
    let mut response = match shared.guard.answer(&request) {
        Answer::Yes => next.run(request).await,
        Answer::SetCookie(cookie) => {
            let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Answer::Foreign => refused(StatusCode::MISDIRECTED_REQUEST, "this page is for its own computer alone"),
        Answer::Stranger => {
            refused(StatusCode::FORBIDDEN, "use the whole link that the program printed\n请使用程序显示的完整链接")
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn refused(status: StatusCode, why: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], why).into_response()
}

async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

async fn file(Path(name): Path<String>) -> Response {
    match asset(&name) {
        Some((kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The state; with `after=VERSION` in the query, as soon as it is another one.
async fn state(State(shared): All, uri: Uri) -> Response {
    let after = uri.query().and_then(|query| query.strip_prefix("after=")).and_then(|after| after.parse::<u64>().ok());
    if let Some(after) = after {
        let mut version = shared.version.clone();
        let _ = timeout(NEWS_TIME, version.wait_for(|version| *version != after)).await;
    }
    answered(shared.worker.ask(move |studio| studio.state(after.is_none())).await)
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn add_class(State(shared): All, request: Request) -> Response {
    let change = async {
        let Named { name } = words(request).await?;
        changed(&shared, move |studio| studio.add_class(&name)).await
    };
    answered(change.await)
}

async fn rename_class(State(shared): All, Path(class): Path<String>, request: Request) -> Response {
    let change = async {
        let Named { name } = words(request).await?;
        changed(&shared, move |studio| studio.rename_class(&class, &name)).await
    };
    answered(change.await)
}

async fn remove_class(State(shared): All, Path(class): Path<String>) -> Response {
    answered(changed(&shared, move |studio| studio.remove_class(&class)).await)
}

async fn remove_example(State(shared): All, Path(example): Path<String>) -> Response {
    answered(changed(&shared, move |studio| studio.remove_example(&example)).await)
}

async fn undo(State(shared): All) -> Response {
    answered(changed(&shared, Studio::undo).await)
}

async fn add_drawing(State(shared): All, Path(class): Path<String>, request: Request) -> Response {
    answered(add(&shared, class, Kind::Drawings, request).await)
}

async fn add_photograph(State(shared): All, Path(class): Path<String>, request: Request) -> Response {
    answered(add(&shared, class, Kind::Photographs, request).await)
}

async fn add(shared: &Shared, class: String, kind: Kind, request: Request) -> Result<crate::studio::State> {
    let _turn = shared.receiving.acquire().await.map_err(Problem::other)?;
    let bytes = picture(request, kind).await?;
    changed(shared, move |studio| studio.add_example(&class, kind, &bytes)).await
}

async fn classify_drawing(State(shared): All, request: Request) -> Response {
    answered(classify(&shared, Kind::Drawings, request).await)
}

async fn classify_photograph(State(shared): All, request: Request) -> Response {
    let Ok(_turn) = shared.receiving.acquire().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    answered(classify(&shared, Kind::Photographs, request).await)
}

async fn classify(shared: &Shared, kind: Kind, request: Request) -> Result<crate::studio::Verdict> {
    let bytes = picture(request, kind).await?;
    shared.worker.ask(move |studio| studio.classify(kind, &bytes)).await
}

async fn thumbnail(State(shared): All, Path(example): Path<String>) -> Response {
    match shared.worker.ask(move |studio| studio.thumbnail(&example)).await {
        // an id is another one when the file changes
        Ok(png) => {
            ([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "private, max-age=86400, immutable")], png)
                .into_response()
        }
        Err(problem) => answered::<()>(Err(problem)),
    }
}

#[derive(Serialize)]
struct Saved {
    /// Where the classifier is.
    path: String,
}

/// Saves a classifier, while the page goes on.
async fn save(State(shared): All, request: Request) -> Response {
    let save = async {
        let Named { name } = words(request).await?;
        limited(&shared)?;
        // one at a time: it computes on all threads
        let turn = shared.saving.clone().try_acquire_owned().map_err(|_| Problem::Busy)?;
        let saving = shared.worker.ask(move |studio| studio.saving(&name)).await?;
        let threads = shared.threads;
        let work = move || {
            let _turn = turn;
            taper_ops::in_pool(threads, || saving.save()).map_err(Problem::other)?
        };
        let path = tokio::task::spawn_blocking(work).await.map_err(Problem::other)??;
        Ok(Saved { path: path.display().to_string() })
    };
    answered(save.await)
}

fn limited(shared: &Shared) -> Result<()> {
    if shared.changes.allows() { Ok(()) } else { Err(Problem::Busy) }
}

/// The state after a change.
async fn changed(
    shared: &Shared,
    change: impl FnOnce(&mut Studio) -> Result<()> + Send + 'static,
) -> Result<crate::studio::State> {
    limited(shared)?;
    let then = |studio: &mut Studio| {
        change(studio)?;
        studio.state(false)
    };
    shared.worker.ask(then).await
}

/// A request's name.
async fn words(request: Request) -> Result<Named> {
    typed(&request, "application/json")?;
    let bytes = body(request, WORDS).await?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::Other { detail: format!("not a name ({error})") })
}

/// A request's picture.
async fn picture(request: Request, kind: Kind) -> Result<Bytes> {
    typed(&request, "image/")?;
    body(request, if kind == Kind::Drawings { DRAWING } else { PHOTOGRAPH }).await
}

/// Checks the type of a request's content, which a form of another site can't give it.
fn typed(request: &Request, expected: &str) -> Result<()> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let fits = kind.get(..expected.len()).is_some_and(|start| start.eq_ignore_ascii_case(expected));
    if fits { Ok(()) } else { Err(Problem::NotAPicture { detail: format!("the content is `{kind}`, not {expected}") }) }
}

async fn body(request: Request, most: usize) -> Result<Bytes> {
    let too_large = || Problem::TooLarge { megabytes: most >> 20 };
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > most as u64) {
        return Err(too_large());
    }
    let received = timeout(BODY_TIME, to_bytes(request.into_body(), most)).await;
    received.map_err(|_| Problem::Busy)?.map_err(|_| too_large())
}

fn answered<T: Serialize>(result: Result<T>) -> Response {
    match result {
        Ok(value) => json(StatusCode::OK, &value),
        Err(problem) => json(status(&problem), &problem),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, "application/json")], Body::from(bytes)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn status(problem: &Problem) -> StatusCode {
    match problem {
        Problem::Gone => StatusCode::NOT_FOUND,
        Problem::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Problem::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Problem::FullDisk => StatusCode::INSUFFICIENT_STORAGE,
        Problem::Disk { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        Problem::Other { .. } => StatusCode::BAD_REQUEST,
        Problem::NameTaken { .. } | Problem::NothingToUndo | Problem::FinishedModel => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

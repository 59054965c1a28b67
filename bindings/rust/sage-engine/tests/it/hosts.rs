//! What a program lends: log and cancel callbacks, memory, threads; how long it lives, and what a panic in it does.
use crate::numbers;
use sage_engine::*;
use std::alloc::{alloc, dealloc, Layout as Block};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

fn attend(context: &mut AttentionContext, data: &[f32], o: &mut [f32]) -> Result<()> {
    let shape = [1, 1, data.len() / 8, 8];
    let view = TensorView::new(data, &shape)?;
    context.run(&mut AttentionOp::new(view, view, view, TensorViewMut::new(o, &shape)?))
}

fn context(engine: &Engine, options: &Options, rows: usize) -> Result<AttentionContext> {
    let shape = [1, 1, rows, 8];
    let view = TensorView::describe(Dtype::F32, &shape)?;
    let op = AttentionOp::new(view, view, view, TensorViewMut::describe(Dtype::F32, &shape)?);
    engine.plan_with(&op, options)?.context()
}

/// Without the lines of panics that are meant.
fn quietly<R>(call: impl FnOnce() -> R) -> R {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.to_string().contains("on purpose") {
                usual(panic);
            }
        }));
    });
    call()
}

#[test]
fn a_log_is_heard_may_panic_and_lives_as_long_as_what_may_call_it() {
    let captured = Arc::new(AtomicUsize::new(0));
    let alive = Arc::downgrade(&captured);
    let context = quietly(|| {
        let counter = captured.clone();
        drop(captured);
        // A plugin that cannot be used is reported and left out.
        let options = Options::new().set("plugins", "/nowhere/libsage_none.so").log(move |level, line| {
            assert!(level <= LogLevel::Warning && !line.is_empty());
            counter.fetch_add(1, SeqCst);
            panic!("on purpose");
        });
        let engine = Engine::with_options(&options).unwrap();
        context(&engine, &Options::new(), 2).unwrap()
    });
    assert!(alive.upgrade().expect("the context may still log").load(SeqCst) > 0);
    drop(context);
    assert!(alive.upgrade().is_none());
}

#[test]
fn a_cancel_callback_stops_runs_and_so_does_its_panic() {
    let mode = Arc::new(AtomicUsize::new(0));
    let asked = mode.clone();
    let options = Options::new().cancel(move || match asked.load(SeqCst) {
        2 => panic!("on purpose"),
        mode => mode == 1,
    });
    let mut context = context(&Engine::new().unwrap(), &options, 64).unwrap();
    drop(options);
    let (data, mut o) = (numbers(512, 1), vec![0f32; 512]);
    attend(&mut context, &data, &mut o).unwrap();
    for how in [1, 2] {
        mode.store(how, SeqCst);
        assert_eq!(quietly(|| attend(&mut context, &data, &mut o)).unwrap_err().status(), Status::Cancelled);
    }
    mode.store(0, SeqCst);
    attend(&mut context, &data, &mut o).unwrap();

    // Of a session too, whose options are its own.
    let model = Model::from_bytes(&Engine::new().unwrap(), crate::METABOLIC, None).unwrap();
    let mut session = Session::with_options(&model, &Options::new().cancel(|| true)).unwrap();
    let tick = r#"{"ts":1,"targets":[{"id":"door","salience":0.9}]}"#;
    assert_eq!(session.tick(tick).unwrap_err().status(), Status::Cancelled);
    assert_eq!(Session::new(&model).unwrap().tick(tick).unwrap().state(), Some(MetabolicState::Focus));
}

/// Counts what is out, and refuses or panics when it is told to.
struct Counting {
    out: Arc<AtomicI64>,
    mode: Arc<AtomicUsize>,
}

unsafe impl Allocator for Counting {
    fn alloc(&self, bytes: usize, align: usize) -> *mut u8 {
        match self.mode.load(SeqCst) {
            1 => return std::ptr::null_mut(),
            2 => panic!("on purpose"),
            _ => {}
        }
        // The head's length right before it, at a fixed distance: free is told the size only.
        let head = align.max(16);
        let block = Block::from_size_align(bytes + head, head).unwrap();
        unsafe {
            let start = alloc(block);
            self.out.fetch_add(bytes as i64, SeqCst);
            (start.add(head) as *mut usize).sub(1).write(head);
            start.add(head)
        }
    }
    unsafe fn free(&self, pointer: *mut u8, bytes: usize) {
        let head = (pointer as *mut usize).sub(1).read();
        self.out.fetch_sub(bytes as i64, SeqCst);
        dealloc(pointer.sub(head), Block::from_size_align(bytes + head, head).unwrap());
    }
}

#[test]
fn memory_comes_from_the_program_and_goes_back_to_it() {
    let (out, mode) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicUsize::new(0)));
    let options = Options::new().allocator(Counting { out: out.clone(), mode: mode.clone() });
    let engine = Engine::with_options(&options).unwrap();
    let mut context = context(&engine, &Options::new().set("backend", "reference"), 64).unwrap();
    let (data, mut o) = (numbers(512, 1), vec![0f32; 512]);
    attend(&mut context, &data, &mut o).unwrap();
    assert!(out.load(SeqCst) > 0, "the context's scratch is the program's");
    for how in [1, 2] {
        mode.store(how, SeqCst);
        let refused = quietly(|| self::context(&engine, &Options::new().set("backend", "reference"), 4096));
        assert_eq!(refused.unwrap_err().status(), Status::OutOfMemory);
    }
    mode.store(0, SeqCst);
    drop((context, engine));
    assert_eq!(out.load(SeqCst), 0);
}

/// Everything in the calling thread, last piece first.
struct Backwards(Arc<AtomicUsize>);

unsafe impl ParallelFor for Backwards {
    fn workers(&self) -> u32 {
        2
    }
    fn run(&self, items: u64, grain: u64, task: Task<'_>) {
        self.0.fetch_add(1, SeqCst);
        let grain = grain.max(1);
        let pieces = (items + grain - 1) / grain;
        for piece in (0..pieces).rev() {
            unsafe { task.run(piece * grain, items.min((piece + 1) * grain), (piece % 2) as u32) };
        }
    }
}

#[test]
fn work_is_done_by_the_program_s_threads_with_the_same_result() {
    let calls = Arc::new(AtomicUsize::new(0));
    let engine = Engine::with_options(&Options::new().parallel_for(Backwards(calls.clone()))).unwrap();
    let (data, mut o, mut want) = (numbers(4096, 1), vec![0f32; 4096], vec![0f32; 4096]);
    attend(&mut context(&engine, &Options::new(), 512).unwrap(), &data, &mut o).unwrap();
    attend(&mut context(&Engine::new().unwrap(), &Options::new(), 512).unwrap(), &data, &mut want).unwrap();
    assert!(calls.load(SeqCst) > 0);
    assert_eq!(o, want);
}

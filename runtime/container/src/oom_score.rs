//! The oom score, which a child takes over from its parent.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use crate::error::{Context, Error};

const PATH: &str = "/proc/self/oom_score_adj";

/// While it lives, children are born with a score that is not the runtime's own.
///
/// Set here, because the child loses the right to lower it with its user namespace, and because the
/// file of a child that can't be ptraced belongs to root.
#[derive(Debug)]
pub(crate) struct LentScore(Option<(File, String)>);

impl LentScore {
    /// Takes the score, if there is one.
    pub fn take(score: Option<i32>) -> Result<LentScore, Error> {
        let Some(score) = score else { return Ok(LentScore(None)) };
        let mut own = String::new();
        let file = File::options()
            .read(true)
            .write(true)
            .open(PATH)
            .and_then(|mut file| file.read_to_string(&mut own).map(|_| file))
            .context(|| format!("open {PATH}"))?;
        file.write_all_at(score.to_string().as_bytes(), 0)
            .context(|| format!("process.oomScoreAdj: write \"{score}\" to {PATH}"))?;
        Ok(LentScore(Some((file, own))))
    }
}

impl Drop for LentScore {
    fn drop(&mut self) {
        if let Some((file, own)) = &self.0 {
            // It was allowed before, so it is now; if not, the runtime ends soon.
            let _ = file.write_all_at(own.as_bytes(), 0);
        }
    }
}

//! Several statements sent in one go: the server works on them while the next ones are on their way,
//! and the cloud waits once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;

use crate::store::StoreError;

/// A statement's parameter.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

type Step<'a> = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send + 'a>>;

/// Statements in their order, on one connection.
pub(super) struct Pipeline<'a> {
    client: &'a Object,
    steps: Vec<Step<'a>>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn on(client: &'a Object) -> Self {
        let steps = Vec::new();
        Self { client, steps }
    }

    /// A statement without parameters. It counts as 0 rows.
    pub(super) fn simple(&mut self, sql: &'static str) {
        let client = self.client;
        self.steps.push(Box::pin(async move {
            client.batch_execute(sql).await?;
            Ok(0)
        }));
    }

    /// A statement that is prepared once on each connection.
    pub(super) async fn add(
        &mut self,
        sql: &str,
        parameters: Vec<Parameter<'a>>,
    ) -> Result<(), StoreError> {
        let client = self.client;
        let statement = client.prepare_cached(sql).await?;
        self.steps.push(Box::pin(async move {
            client.execute(&statement, &parameters).await
        }));
        Ok(())
    }

    /// Sends them all, and waits for all their answers, also after a failure. How many rows each
    /// was about; the first failure if there is one.
    pub(super) async fn run(self) -> Result<Vec<u64>, StoreError> {
        let mut steps: Vec<_> = self.steps.into_iter().map(Some).collect();
        let mut answers: Vec<_> = steps.iter().map(|_| Ok(0)).collect();
        // A statement is sent when its future is polled first, so the first round sends them in
        // their order.
        poll_fn(|context| {
            let mut waits = false;
            for (step, answer) in steps.iter_mut().zip(&mut answers) {
                let Some(future) = step else { continue };
                match future.as_mut().poll(context) {
                    Poll::Ready(outcome) => {
                        *answer = outcome;
                        *step = None;
                    }
                    Poll::Pending => waits = true,
                }
            }
            if waits {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        Ok(answers.into_iter().collect::<Result<_, _>>()?)
    }
}

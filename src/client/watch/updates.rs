//! A subscription that is read by a task of its own, so that whoever waits for it can wait for
//! other things too. It does not know what is done with the messages.

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::client::connection::{ClientError, SubscriptionEvent};
use crate::client::subscription::EventSubscription;
use crate::report::Message;

/// How many groups of messages may wait. If there are more, the task waits, and the server notices
/// a slow client.
const WAITING: usize = 16;

/// What a subscription yields. Dropping it closes the connection.
pub(super) struct Updates {
    receiver: mpsc::Receiver<Result<SubscriptionEvent<Message>, ClientError>>,
    _task: AbortOnDropHandle<()>,
}

impl Updates {
    pub(super) fn of(mut subscription: EventSubscription) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);

        let task = tokio::spawn(async move {
            loop {
                let update = subscription.next().await;
                let is_last = update.is_err();
                if sender.send(update).await.is_err() || is_last {
                    break;
                }
            }
        });
        Self { receiver, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits for the next messages, or for the loss of the connection. A wait that is given up
    /// loses nothing.
    ///
    /// # Errors
    ///
    /// If another attempt to connect cannot succeed. Nothing follows after that.
    pub(super) async fn next(&mut self) -> Result<SubscriptionEvent<Message>, ClientError> {
        match self.receiver.recv().await {
            Some(update) => update,
            None => std::future::pending().await,
        }
    }
}

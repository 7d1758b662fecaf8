//! Questions scattered over partitions, and the places in the response where their replies belong.

use ottla_partition::Reply;
use ottla_protocol::PartitionId;

use crate::answer::{Question, Replies};

/// See the module.
#[derive(Default)]
pub struct Scatter {
    places: Vec<Place>,
    questions: Vec<Question>,
}

/// A row of a response: of which topic, of which partition.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Index of the topic in the response.
    pub topic: usize,
    /// Index of the partition within the topic.
    pub partition: usize,
    /// Which partition it is.
    pub id: PartitionId,
}

impl Scatter {
    /// Asks a partition; the reply belongs to this place.
    pub fn ask(&mut self, place: Place, question: ottla_partition::Question) {
        self.places.push(place);
        self.questions.push(Question::Partition(place.id, question));
    }

    /// The questions to ask and the places for their replies.
    pub fn into_parts(self) -> (Vec<Question>, Places) {
        (self.questions, Places(self.places))
    }
}

/// The places, in the order of the questions.
pub struct Places(Vec<Place>);

impl Places {
    /// Each place with its reply; `None` where none came in time.
    pub fn gather(self, mut replies: Replies) -> impl Iterator<Item = (Place, Option<Reply>)> {
        self.0.into_iter().enumerate().map(move |(index, place)| (place, replies.partition(index)))
    }
}

//! The transaction coordinator: transactional ids and their transactions, on one partition of `__transaction_state`.

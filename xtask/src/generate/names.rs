//! From Kafka's names to Rust's.

/// `ThrottleTimeMs` → `throttle_time_ms`, `ISRNodes` → `isr_nodes`. `KRaft` is one word.
pub fn snake(name: &str) -> String {
    let letters: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut snake = String::new();
    for (i, letter) in letters.iter().enumerate() {
        if letter.is_uppercase() && i > 0 {
            let after_small = !letters[i - 1].is_uppercase();
            let before_small = letters.get(i + 1).is_some_and(|next| next.is_lowercase());
            if after_small || before_small {
                snake.push('_');
            }
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The name of a field in Rust.
pub fn field(name: &str) -> String {
    let name = snake(name);
    match name.as_str() {
        "match" | "type" | "loop" | "ref" | "move" | "where" | "use" | "in" => format!("r#{name}"),
        _ => name,
    }
}

//! What a person does with a collection: look up, sign, publish, delegate, rotate, witness.

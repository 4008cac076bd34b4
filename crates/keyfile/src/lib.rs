//! Private key files: PEM with headers, PKCS#8, legacy encryptions and JWE; bytes in, keys out.

//! PCM and Opus packet encoders and decoders of Audera

// SPDX-License-Identifier: GPL-2.0

//! Channels that pass words and descriptors between processes.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use nix::sys::socket::{
    recvmsg,
    sendmsg,
    socketpair,
    AddressFamily,
    ControlMessage,
    ControlMessageOwned,
    MsgFlags,
    SockFlag,
    SockType, //
};
use std::io::{
    IoSlice,
    IoSliceMut, //
};
use std::os::fd::{
    AsFd,
    AsRawFd,
    BorrowedFd,
    FromRawFd,
    OwnedFd, //
};

/// One end of a socket pair that passes words and descriptors between processes.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Creates two connected ends. Each process keeps one and drops the other.
    pub fn pair() -> Result<(Channel, Channel)> {
        let (a, b) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Channel(a), Channel(b)))
    }

    /// Sends a word and optionally a descriptor (`SCM_RIGHTS`).
    pub fn send(&self, word: &str, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let raw: Vec<_> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control: &[ControlMessage] = if raw.is_empty() { &[] } else { &rights };
        let data = [IoSlice::new(word.as_bytes())];
        sendmsg::<()>(
            self.0.as_raw_fd(),
            &data,
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        Ok(())
    }

    /// Waits for a word and returns the descriptor that was sent with it, if any.
    pub fn expect(&self, word: &str) -> Result<Option<OwnedFd>> {
        let mut bytes = [0; 64];
        let mut control = nix::cmsg_space!(i32);
        let mut data = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<()>(
            self.0.as_raw_fd(),
            &mut data,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )?;
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = part {
                // SAFETY: The kernel has installed these descriptors; nothing else owns them.
                fds.extend(
                    raw.into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                );
            }
        }
        let len = message.bytes;
        ensure!(len > 0, "the other process exited, expected {word:?}");
        let received = String::from_utf8_lossy(&bytes[..len]);
        ensure!(received == word, "received {received:?}, expected {word:?}");
        Ok(fds.pop())
    }

    /// Waits for a word and returns the descriptor that was sent with it.
    pub fn expect_fd(&self, word: &str) -> Result<OwnedFd> {
        self.expect(word)?
            .with_context(|| format!("received no descriptor with {word:?}"))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn descriptors_are_passed() {
        let (sender, receiver) = Channel::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        sender.send("take", Some(file.as_fd())).unwrap();
        assert!(receiver.expect_fd("take").is_ok());
        sender.send("other", None).unwrap();
        assert!(receiver.expect("word").is_err());
        drop(sender);
        assert!(receiver.expect("word").is_err());
    }
}

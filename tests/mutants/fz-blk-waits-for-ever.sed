# what: a flush that fails lets none of those behind it begin
# file: devices/virtio/blk.c
# fuzz: blk
/^static void ended/,/^}/{/res < 0/,/fail(req, res)/{/next_slow/d;};}

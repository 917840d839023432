# what: an attach replays what KVM replays already
# file: vmm/core/irqfd.c
# case: V6
s/^\tf->gsi = gsi;/&\n\tirqfd_raise(f);/

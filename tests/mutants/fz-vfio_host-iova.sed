# what: memory is mapped across addresses that the IOMMU keeps for itself
# file: devices/vfio/container.c
# fuzz: vfio_host
s/if (last <= ranges\[i\].end)/if (start <= ranges[i].end)/

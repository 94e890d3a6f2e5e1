# A bundle as an image of its own: versioned, pulled and rolled back like the daemon's, and mounted as a volume. It holds
# nothing that runs. The build's context is the bundle's folder:
#
#   docker build -f deploy/image/bundle.Dockerfile -t tickcast-bundle:1 demo-out/bundle
FROM scratch
# Readable for any user, whatever the mask was under which it was exported.
COPY --chmod=0555 . /

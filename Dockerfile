# The image of Verdigris: one static binary and the root certificates, nothing else, run by nobody.
#
#   docker build -t verdigris:0.1.0 .          (or podman, buildah; without any of them: hack/image)
#
# The root certificates are for metric servers and hooks with public certificates.
FROM docker.io/library/rust:1-alpine AS build
RUN apk add --no-cache musl-dev ca-certificates
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin verdigris

FROM scratch
COPY --from=build /src/target/release/verdigris /verdigris
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["/verdigris"]
CMD ["run"]
EXPOSE 9443

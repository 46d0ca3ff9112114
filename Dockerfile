# One image for every role: `agent`, `control-plane`, `run`, and the sample services of docker-compose.yml.

FROM node:26.10.0-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
# The compiler comes as one optional package per platform, so the build needs them; the image below goes without.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY agent agent
COPY cli cli
COPY contract contract
COPY control-plane control-plane
COPY examples/services examples/services
COPY scripts/build.mjs scripts/build-dashboard.mjs scripts/
RUN node scripts/build.mjs
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:26.10.0-slim
LABEL org.opencontainers.image.title="outrigger" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/dist dist
# The only place that is written to; mount a volume to keep last-known-good endpoints and policies over restarts.
RUN mkdir /state && chown node:node /state
VOLUME /state
USER node
ENTRYPOINT ["node", "--disable-proto=delete", "/app/dist/cli/main.js"]
CMD ["--help"]

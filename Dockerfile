# Three stages, so that neither the compiler nor the embedded PostgreSQL of demo and tests is in the image that runs.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY src ./src
RUN npm run build

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# typescript is an optional peer of a dependency, and a program that is built needs no compiler.
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json ./
COPY --chown=node:node migrations ./migrations
COPY --chown=node:node sql ./sql
USER node
# "docker stop" sends SIGTERM: calls in flight are finished or given back within eight seconds.
STOPSIGNAL SIGTERM
# Healthy says more than "the process is up": the last successful run is recent, the database answers, the lanes move.
HEALTHCHECK --interval=60s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HEALTH_PORT}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENV HEALTH_PORT=8080
ENTRYPOINT ["dist/cli.js"]
CMD ["worker"]

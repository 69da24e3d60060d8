/**
 * The runner that services have without this project, made from what its documentation says: one `get` a migration to
 * see whether it has run, one after the other, and one `put` once it has.
 */
export interface Migration {
  id: string;
  description: string;
  up(kv: KVNamespace, ...args: unknown[]): Promise<void>;
  down?(kv: KVNamespace, ...args: unknown[]): Promise<void>;
}

export interface MigrationResult {
  ran: string[];
  skipped: string[];
}

export interface MigrationStatus {
  id: string;
  run: boolean;
  description: string;
}

export class MigrationRunner {
  constructor(
    private readonly kv: KVNamespace,
    private readonly servicePrefix: string,
  ) {}

  async isRun(id: string): Promise<boolean> {
    return (await this.kv.get(this.key(id))) === "true";
  }

  async getStatus(migrations: Migration[]): Promise<MigrationStatus[]> {
    const status: MigrationStatus[] = [];
    for (const { id, description } of migrations) {
      status.push({ id, run: await this.isRun(id), description });
    }
    return status;
  }

  async runPending(migrations: Migration[], ...args: unknown[]): Promise<MigrationResult> {
    const result: MigrationResult = { ran: [], skipped: [] };
    for (const migration of migrations) {
      if (await this.isRun(migration.id)) {
        result.skipped.push(migration.id);
        continue;
      }
      await migration.up(this.kv, ...args);
      await this.kv.put(this.key(migration.id), "true", { metadata: { runAt: new Date().toISOString() } });
      result.ran.push(migration.id);
    }
    return result;
  }

  private key(id: string): string {
    return `migration_${this.servicePrefix}_${id}`;
  }
}

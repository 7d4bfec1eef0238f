using System.Text.Json.Serialization;
using FlashSale.Platform;
using Microsoft.AspNetCore.Authorization;

namespace FlashSale.Admin.Http;

/// <summary>The parts of HTTP that all endpoints of the host share: limits, readiness, the OpenAPI document.</summary>
public static class HttpModule
{
    // Bytes. The imports have limits of their own.
    private const long MaxBody = 1024 * 1024;

    /// <summary>Sets the limits, and registers the transfers, the readiness check and the document.</summary>
    public static void AddHttp(this WebApplicationBuilder builder)
    {
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestBodySize = MaxBody);
        builder.Services.ConfigureHttpJsonOptions(json => json.SerializerOptions.NumberHandling = JsonNumberHandling.Strict);
        builder.RequireSchema();
        var transfers = builder.Services.AddSettings<TransferOptions>(builder.Configuration, "Transfers");
        var postgres = Settings.Read<PostgresOptions>(builder.Configuration, "Postgres");
        builder.Services.AddSingleton(services =>
            new Transfers(transfers, postgres, builder.Environment.ApplicationName, services.GetRequiredService<ILogger<Transfers>>()));
        builder.ReplaceReadOnlySessions(static services => services.GetRequiredService<Transfers>().Postgres);
        builder.Services.AddOpenApi(Document.Describe);
    }

    /// <summary>Answers 503 until the schema of the database is up to date.</summary>
    public static void UseSchemaGuard(this WebApplication app)
    {
        var migrations = app.Services.GetRequiredService<MigrateInBackground>();
        app.Use((context, next) => migrations.Done.IsCompletedSuccessfully
            ? next(context)
            : Problems.WriteAsync(context, Problem.TemporarilyUnavailable, "The database schema is not up to date yet."));
    }

    /// <summary>Maps /openapi/v1.json, which needs no token.</summary>
    public static void MapDocument(this WebApplication app) => app.MapOpenApi().WithMetadata(new AllowAnonymousAttribute());

    /// <summary>Serves a page at /docs on which people read the document. It needs no token.</summary>
    public static void UseDocs(this WebApplication app) => app.UseDocs(docs => docs.UseSwaggerUI(page =>
    {
        (page.RoutePrefix, page.DocumentTitle) = (ApiDocument.DocsPath[1..], "FlashSale, campaign managers");
        page.SwaggerEndpoint(ApiDocument.Path, "Campaign managers");
    }));
}

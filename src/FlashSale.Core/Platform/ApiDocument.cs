using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace FlashSale.Platform;

/// <summary>
/// What the OpenAPI documents of all hosts have in common: the bearer token, the problem that every error is, a name for
/// every operation, and schemas that say what is sent, no more and no less.
/// </summary>
public static class ApiDocument
{
    /// <summary>Where the document is.</summary>
    public const string Path = "/openapi/v1.json";

    /// <summary>Where people read it.</summary>
    public const string DocsPath = "/docs";

    private const string Bearer = "bearer";
    private const string ProblemName = "Problem";

    /// <summary>Adds it to a document.</summary>
    /// <param name="options">Of the document.</param>
    /// <param name="title">What the document is called.</param>
    /// <param name="token">What a bearer token is.</param>
    /// <param name="isOpen">Whether an operation takes no token.</param>
    public static void Describe(OpenApiOptions options, string title, OpenApiSecurityScheme token, Func<OpenApiOperationTransformerContext, bool> isOpen)
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo { Title = title, Version = "1" };
            // Wherever it was read from.
            document.Servers?.Clear();
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>(StringComparer.Ordinal);
            document.Components.SecuritySchemes[Bearer] = token;
            document.Components.Schemas ??= new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal);
            document.Components.Schemas[ProblemName] = ProblemSchema();
            return Task.CompletedTask;
        });
        options.AddSchemaTransformer((schema, context, _) =>
        {
            // Where a schema has a default, generators demand the member in requests.
            schema.Default = null;
            foreach (var property in context.JsonTypeInfo.Properties)
            {
                if (property.AttributeProvider?.IsDefined(typeof(JsonIgnoreAttribute), inherit: true) is true) schema.Required?.Remove(property.Name);
            }
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            // By what it is about, not by the class that answers it.
            var subject = Capitalized(context.Description.RelativePath!.Split('/')[2]);
            (context.Document!.Tags ??= new HashSet<OpenApiTag>()).Add(new OpenApiTag { Name = subject });
            operation.Tags = new HashSet<OpenApiTagReference> { new(subject, context.Document) };
            operation.OperationId = OperationId(context.Description.HttpMethod!, context.Description.RelativePath!);
            if (!isOpen(context)) operation.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(Bearer, context.Document)] = [] }];
            return Task.CompletedTask;
        });
    }

    /// <summary>An answer that is a problem.</summary>
    /// <param name="context">Of the operation.</param>
    /// <param name="description">When it comes.</param>
    /// <param name="asksToRetry">Whether it has a Retry-After.</param>
    public static OpenApiResponse ProblemResponse(OpenApiOperationTransformerContext context, string description, bool asksToRetry = false)
    {
        var response = new OpenApiResponse
        {
            Description = description,
            Content = new Dictionary<string, OpenApiMediaType>(StringComparer.Ordinal)
            {
                ["application/problem+json"] = new() { Schema = new OpenApiSchemaReference(ProblemName, context.Document) },
            },
        };
        if (asksToRetry) AddHeader(response, "Retry-After", "Seconds until it is worth asking again.", JsonSchemaType.Integer);
        return response;
    }

    /// <summary>Adds a header to an answer.</summary>
    public static void AddHeader(OpenApiResponse response, string name, string description, JsonSchemaType type = JsonSchemaType.String)
    {
        response.Headers ??= new Dictionary<string, IOpenApiHeader>(StringComparer.Ordinal);
        response.Headers[name] = new OpenApiHeader { Description = description, Schema = Of(type) };
    }

    /// <summary>Adds a parameter that the handler reads itself.</summary>
    public static void AddParameter(OpenApiOperation operation, ParameterLocation place, string name, string description, OpenApiSchema schema, bool isRequired = false)
    {
        operation.Parameters ??= [];
        operation.Parameters.Add(new OpenApiParameter { Name = name, In = place, Description = description, Schema = schema, Required = isRequired });
    }

    /// <summary>The page at /docs on which people read the document.</summary>
    /// <param name="app">The host.</param>
    /// <param name="page">Adds the page.</param>
    public static void UseDocs(this WebApplication app, Action<IApplicationBuilder> page) =>
        app.UseWhen(context => context.Request.Path.StartsWithSegments(DocsPath, StringComparison.Ordinal), docs =>
        {
            docs.Use((context, next) =>
            {
                // All of it comes from this host; its pictures are in its styles.
                context.Response.Headers.ContentSecurityPolicy = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'";
                context.Response.Headers.XContentTypeOptions = "nosniff";
                return next(context);
            });
            page(docs);
        });

    /// <summary>A schema that is nothing but a type.</summary>
    public static OpenApiSchema Of(JsonSchemaType type) => new() { Type = type };

    // One that every generator can make a name of: postSalesPreload, getSalesOne, deleteOpsBlocklist.
    private static string OperationId(string method, string path) => method.ToLowerInvariant() + string.Concat(
        path.Replace("api/v1/", "", StringComparison.Ordinal).Split('/', ':', '-', '.').Where(part => part is not ['{', ..]).Select(Capitalized))
        + (path.EndsWith('}') && method is "GET" ? "One" : "");

    private static string Capitalized(string word) => word.Length == 0 ? "" : char.ToUpperInvariant(word[0]) + word[1..];

    private static OpenApiSchema ProblemSchema() => new()
    {
        Type = JsonSchemaType.Object,
        Description = "RFC 9457, with a stable code. Errors say what is wrong with a request, by field or by line.",
        Required = new HashSet<string>(StringComparer.Ordinal) { "type", "title", "status", "code", "traceId" },
        Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
        {
            ["type"] = Of(JsonSchemaType.String),
            ["title"] = Of(JsonSchemaType.String),
            ["status"] = Of(JsonSchemaType.Integer),
            ["code"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "What a client switches on." },
            ["detail"] = Of(JsonSchemaType.String),
            ["errors"] = new OpenApiSchema
            {
                Type = JsonSchemaType.Array,
                Items = new OpenApiSchema
                {
                    Type = JsonSchemaType.Object,
                    Required = new HashSet<string>(StringComparer.Ordinal) { "message" },
                    Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
                    {
                        ["field"] = Of(JsonSchemaType.String), ["line"] = Of(JsonSchemaType.Integer), ["message"] = Of(JsonSchemaType.String),
                    },
                },
            },
            ["challenge"] = new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Of challenge_required: an ALTCHA challenge for widgets 1 and 2." },
            ["challengeV2"] = new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Of challenge_required: the same for widget 3." },
            ["traceId"] = Of(JsonSchemaType.String),
        },
    };
}
